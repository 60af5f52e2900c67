"""The check of alarms, with CloudFormation and CloudWatch of ministack."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from local.listening import listen
from local.ministack import Ministack
from tests.deploy.smoke_fakes import around, verdict_of
from tools.smoke import alarms
from tools.smoke.stack import DeployedStack, NoStack
from tools.smoke.surroundings import Surroundings

STACK = "byline-dev"
ALARM = {
    "Type": "AWS::CloudWatch::Alarm",
    "Properties": {
        "Namespace": "Byline",
        "MetricName": "Ticks",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
    },
}
ALIAS = "arn:aws:lambda:us-east-1:123456789012:function:runs:live"


@pytest.fixture(scope="module")
def aws() -> Iterator[Ministack]:
    with Ministack(listen(0), services=("cloudformation", "cloudwatch", "s3")) as running:
        yield running


@pytest.fixture
def watched(aws: Ministack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    """A stack with two alarms in its nested stack."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    storage, formation = aws.client("s3"), aws.client("cloudformation")
    storage.create_bucket(Bucket="templates")
    nested = json.dumps({"Resources": {"OneAlarm": ALARM, "OtherAlarm": ALARM}})
    storage.put_object(Bucket="templates", Key="nested.json", Body=nested)
    address = {"TemplateURL": f"{aws.url}/templates/nested.json"}
    observability = {"Type": "AWS::CloudFormation::Stack", "Properties": address}
    root = {
        "Resources": {"Observability": observability},
        "Outputs": {"RunsFunctionAlias": {"Value": ALIAS}},
    }
    formation.create_stack(StackName=STACK, TemplateBody=json.dumps(root))
    formation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
    yield around(DeployedStack(STACK))
    formation.delete_stack(StackName=STACK)
    formation.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})


@pytest.mark.parametrize(
    ("state", "outcome"), [("OK", "ok"), ("INSUFFICIENT_DATA", "ok"), ("ALARM", "FAILED")]
)
def test_alarm_that_is_on_fails(
    aws: Ministack, watched: Surroundings, state: str, outcome: str
) -> None:
    """An alarm in ALARM fails and is named. Without data it is counted."""
    client = aws.client("cloudwatch")
    one, other = [alarm["AlarmName"] for alarm in client.describe_alarms()["MetricAlarms"]]
    client.set_alarm_state(AlarmName=one, StateValue="OK", StateReason="-")
    client.set_alarm_state(AlarmName=other, StateValue=state, StateReason="-")
    verdict = verdict_of(partial(alarms.check, watched))
    assert verdict.outcome == outcome
    assert (other if outcome == "FAILED" else state) in verdict.detail


def test_deleted_alarm_fails(aws: Ministack, watched: Surroundings) -> None:
    """An alarm that the stack has and CloudWatch does not is missing."""
    client = aws.client("cloudwatch")
    [one, _] = [alarm["AlarmName"] for alarm in client.describe_alarms()["MetricAlarms"]]
    client.delete_alarms(AlarmNames=[one])
    verdict = verdict_of(partial(alarms.check, watched))
    assert (verdict.outcome, verdict.detail) == (
        "FAILED",
        f"expected 2 alarms; seen: deleted: {one}",
    )


def test_stack_that_does_not_exist_is_named(watched: Surroundings) -> None:
    """A wrong name, account or region is said at once."""
    assert watched.stack.name == STACK
    with pytest.raises(NoStack, match="byline-prod does not exist in this account"):
        DeployedStack("byline-prod")
