"""The triggers of functions, as read from the template."""

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
    """A template with one function and queue, after text replacements."""
    text = SMALL
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / "template.yaml").write_text(text)
    return Template.read(folder / "template.yaml")


def test_queue_trigger_without_settings_has_the_defaults_of_aws(tmp_path: Path) -> None:
    """By default a batch has ten messages, and one worker handles the queue."""
    assert queue_sources(small(tmp_path)) == [
        QueueSource(function="WorkFunction", queue="WorkQueue", batch_size=10, concurrency=1)
    ]


def test_rate_is_read_in_seconds(tmp_path: Path) -> None:
    """A rate in hours is converted to seconds."""
    [schedule] = schedules(small(tmp_path))
    assert schedule == Schedule(name="WorkFunctionTick", function="WorkFunction", seconds=7_200)


def test_schedule_without_a_rate_is_refused(tmp_path: Path) -> None:
    """A cron expression raises an error, because the local schedule does not support it."""
    with pytest.raises(ValueError, match="cron"):
        schedules(small(tmp_path, **{"rate(2 hours)": "cron(0 6 * * ? *)"}))


def test_our_template_has_a_tick_per_minute_and_two_workers() -> None:
    """The schedules and the queue trigger are those of the template."""
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


def test_our_template_triggers_registration_by_new_outbox_entries() -> None:
    """The stream trigger has the template's filter: new rows with an outbox entry."""
    [source] = stream_sources(Template.read(ROOT / "template.yaml"))
    pending = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"unregistered": {"S": ANYTHING}}}}
    assert source == StreamSource(
        function="RegisterResourcesFunction",
        table="RunsTable",
        batch_size=8,
        retries=3,
        filters=(pending,),
    )
