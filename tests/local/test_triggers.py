"""What invokes functions, as the template says it."""

from pathlib import Path

import pytest

from local.template import Template
from local.triggers import (
    QueueSource,
    Schedule,
    StreamSource,
    queue_sources,
    schedules,
    stream_sources,
)

ROOT = Path(__file__).parents[2]
ANYTHING = [{"exists": True}]

SMALL = """
Transform: AWS::Serverless-2016-10-31
Resources:
  WorkFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/work
      Handler: work.handler
      Runtime: python3.13
      Events:
        Tick: { Type: ScheduleV2, Properties: { ScheduleExpression: "rate(2 hours)" } }
        Work: { Type: SQS, Properties: { Queue: !GetAtt WorkQueue.Arn } }
  WorkQueue:
    Type: AWS::SQS::Queue
"""


def small(folder: Path, **changes: str) -> Template:
    text = SMALL
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / "template.yaml").write_text(text)
    return Template.read(folder / "template.yaml")


def test_queue_without_settings_has_those_of_aws(tmp_path: Path) -> None:
    """Ten messages at once, and one worker here."""
    assert queue_sources(small(tmp_path)) == [
        QueueSource(function="WorkFunction", queue="WorkQueue", batch_size=10, concurrency=1)
    ]


def test_rate_is_read_in_seconds(tmp_path: Path) -> None:
    """Of minutes and of hours."""
    [schedule] = schedules(small(tmp_path))
    assert schedule == Schedule(name="WorkFunctionTick", function="WorkFunction", seconds=7_200)


def test_schedule_without_a_rate_is_refused(tmp_path: Path) -> None:
    """What this machine cannot keep is said, not left out."""
    with pytest.raises(ValueError, match="cron"):
        schedules(small(tmp_path, **{"rate(2 hours)": "cron(0 6 * * ? *)"}))


def test_our_own_template_ticks_every_minute_and_has_two_workers() -> None:
    """What drives the refresh on AWS drives it here."""
    template = Template.read(ROOT / "template.yaml")
    assert queue_sources(template) == [
        QueueSource(
            function="RefreshTokensFunction", queue="RefreshQueue", batch_size=40, concurrency=2
        )
    ]
    assert [(each.function, each.seconds, each.input) for each in schedules(template)] == [
        ("PlanRefreshFunction", 60, '{"scheduled_at": "<aws.scheduler.scheduled-time>"}'),
        ("RegisterResourcesFunction", 300, None),
    ]


def test_our_own_template_hands_over_the_changes_of_runs() -> None:
    """What makes registration quick on AWS does so here, by the same filter."""
    [source] = stream_sources(Template.read(ROOT / "template.yaml"))
    marked = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"unregistered": {"S": ANYTHING}}}}
    assert source == StreamSource(
        function="RegisterResourcesFunction",
        table="RunsTable",
        batch_size=10,
        retries=3,
        filters=(marked,),
    )
