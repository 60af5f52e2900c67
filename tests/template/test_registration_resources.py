"""The way of a registration: stream and schedule, with their limits and their failures; and off."""

import json
import re
from typing import Any

import pytest

from byline.registration.authorization_service import DELIVERY_SECONDS
from byline.registration.outbox import MARK
from local.stream_poller import matches
from register_resources.claims import SETTLE_SECONDS
from tests.template.stack import NO_VALUE, Json, properties, template, translate

FUNCTION = "AWS::Serverless::Function"
NAME = "RegisterResourcesFunction"
DEAD_LETTERS = {"Fn::GetAtt": ["RegistrationDeadLetters", "Arn"]}
ON_FAILURE = {"OnFailure": {"Type": "SQS", "Destination": DEAD_LETTERS}}


def test_registration_is_off_by_default() -> None:
    """Without an address no registration resource is deployed, and the table has no stream."""
    parameter = template()["Parameters"]["AuthorizationServiceUrl"]
    assert parameter["Default"] == ""
    assert template()["Conditions"]["Registration"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "AuthorizationServiceUrl"}, ""]}]
    }
    stream = properties("AWS::DynamoDB::Table", "RunsTable")["StreamSpecification"]
    assert stream == {"Fn::If": ["Registration", {"StreamViewType": "NEW_IMAGE"}, NO_VALUE]}


def test_everything_of_registration_has_its_condition() -> None:
    """Whatever refers to the function is there only with it; the dashboard finds it by name."""
    for name, body in translate(template())["Resources"].items():
        text = json.dumps(body)
        refers = re.search(r'"(Ref|Fn::GetAtt)": \[?"((?:Register|Registration)\w+)"', text)
        if refers or re.match("Register|Registration", name):
            assert body.get("Condition") == "Registration", name


@pytest.mark.parametrize(
    "url",
    [
        "http://authorization.example.com",
        "https://authorization.example.com/?a=b",
        "https://authorization.example.com/#a",
        "https://authorization example.com",
    ],
)
def test_address_that_is_no_base_is_refused(url: str) -> None:
    """It is https, and a path can be appended."""
    pattern = template()["Parameters"]["AuthorizationServiceUrl"]["AllowedPattern"]
    assert re.fullmatch(pattern, "https://authorization.example.com/base")
    assert not re.fullmatch(pattern, url)


def test_both_functions_know_the_service() -> None:
    """Who marks rows and who works them off are switched on by one parameter."""
    for function in ("RunsFunction", NAME):
        variables = properties(FUNCTION, function)["Environment"]["Variables"]
        assert variables["AUTHORIZATION_SERVICE_URL"] == {"Ref": "AuthorizationServiceUrl"}
        assert variables["RUNS_TABLE"] == {"Ref": "RunsTable"}


def test_stream_stops_for_no_record() -> None:
    """All of its limits are set, as without them one record could stop its shard for a day."""
    [mapping] = [
        body["Properties"]
        for body in translate(template())["Resources"].values()
        if body["Type"] == "AWS::Lambda::EventSourceMapping"
        and body["Properties"]["FunctionName"] == {"Ref": NAME}
    ]
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["RunsTable", "StreamArn"]}
    assert mapping["MaximumRetryAttempts"] == 3
    assert mapping["MaximumRecordAgeInSeconds"] == 3_600
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": DEAD_LETTERS}}
    # Nothing was missed between the deployment and the first look.
    assert mapping["StartingPosition"] == "TRIM_HORIZON"


NEW_RUN = {"project": {"S": "apollo"}, "id": {"S": "1"}, MARK[0]: {"S": "1"}, MARK[1]: {"S": "t"}}


@pytest.mark.parametrize(
    ("event", "image", "is_let_through"),
    [
        ("INSERT", NEW_RUN, True),
        ("INSERT", {**NEW_RUN, "project": {"S": "deleted#apollo"}}, True),
        ("MODIFY", NEW_RUN, False),
        ("INSERT", {"project": {"S": "apollo"}, "id": {"S": "1"}}, False),
        ("INSERT", {"project": {"S": "idempotency#apollo"}, "id": {"S": "k"}}, False),
        ("INSERT", {"project": {"S": "registration#apollo"}, "id": {"S": "1"}}, False),
        ("REMOVE", None, False),
    ],
)
def test_only_new_rows_with_a_mark_invoke(event: str, image: Any, is_let_through: bool) -> None:  # noqa: FBT001 - a column
    """A run that was created or deleted; neither what registration itself writes nor other rows."""
    filters = _changes()["FilterCriteria"]["Filters"]
    [pattern] = [json.loads(each["Pattern"]) for each in filters]
    record: Json = {"eventName": event, "dynamodb": {"Keys": {}}}
    if image is not None:
        record["dynamodb"]["NewImage"] = image
    assert matches(pattern, record) == is_let_through


def test_pass_is_over_before_the_next() -> None:
    """And a batch whose service hangs is through all its attempts in that time."""
    assert _pass()["ScheduleExpression"] == "rate(5 minutes)"
    timeout = properties(FUNCTION, NAME)["Timeout"]
    assert 2 * DELIVERY_SECONDS < timeout < 300


def test_late_pass_is_given_up_and_kept_for_people_to_see() -> None:
    """The next one does its work."""
    assert _pass()["RetryPolicy"] == {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 300}
    assert _pass()["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
    invoke = properties(FUNCTION, NAME)["EventInvokeConfig"]
    assert (invoke["MaximumRetryAttempts"], invoke["MaximumEventAgeInSeconds"]) == (0, 300)
    assert invoke["DestinationConfig"] == ON_FAILURE


def test_dead_letters_are_encrypted_and_kept() -> None:
    """As long as a queue keeps anything."""
    queue = properties("AWS::SQS::Queue", "RegistrationDeadLetters")
    assert queue == {"MessageRetentionPeriod": 14 * 86_400, "SqsManagedSseEnabled": True}


def test_alarm_on_age_knows_of_what_settles_on_purpose() -> None:
    """A deletion may wait for a registration in doubt, and for the passes after it."""
    threshold = properties("AWS::CloudWatch::Alarm", "OldestPendingAgeAlarm")["Threshold"]
    assert threshold >= SETTLE_SECONDS + 2 * 300


def test_nobody_waits_for_its_cold_start() -> None:
    """It keeps no snapshot, which is paid for while nothing happens."""
    assert "SnapStart" not in properties(FUNCTION, NAME)


def _changes() -> Json:
    event: Json = properties(FUNCTION, NAME)["Events"]["Changes"]
    assert event["Type"] == "DynamoDB"
    body: Json = event["Properties"]
    return body


def _pass() -> Json:
    event: Json = properties(FUNCTION, NAME)["Events"]["Pass"]
    assert event["Type"] == "ScheduleV2"
    body: Json = event["Properties"]
    return body
