"""Registration: limits and failure destinations of stream and schedule, and the switch."""

import json
import re
from typing import Any

import pytest

from byline.registration.authorization_service import DELIVERY_SECONDS
from byline.registration.outbox import ENTRY_ATTRIBUTES, SETTLE_SECONDS
from local.stream_poller import matches
from register_resources.backlog import CONCURRENCY
from serve_runs.service_accounts.grants import REQUEST_SECONDS
from tests.template.deployment import Deployment
from tests.template.stack import NO_VALUE, Json, properties, template, translate

FUNCTION = "AWS::Lambda::Function"
NAME = "RegisterResourcesFunction"
DEAD_LETTERS = {"Fn::GetAtt": ["RegistrationDeadLetters", "Arn"]}
ON_FAILURE = {"OnFailure": {"Destination": DEAD_LETTERS}}


def test_registration_is_off_by_default() -> None:
    """Without AuthorizationServiceUrl no resource of registration exists, and no stream."""
    parameter = template()["Parameters"]["AuthorizationServiceUrl"]
    assert parameter["Default"] == ""
    assert template()["Conditions"]["Registration"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "AuthorizationServiceUrl"}, ""]}]
    }
    stream = properties("AWS::DynamoDB::Table", "RunsTable")["StreamSpecification"]
    assert stream == {"Fn::If": ["Registration", {"StreamViewType": "NEW_IMAGE"}, NO_VALUE]}


def test_every_resource_of_registration_has_its_condition() -> None:
    """Each resource that refers to the function exists only where registration is on."""
    for name, body in translate(template())["Resources"].items():
        text = re.sub(r'\{"Fn::If": \["Registration", \{[^}]+\}, ""\]\}', "", json.dumps(body))
        for parameter in template()["Parameters"]:
            text = text.replace(f'{{"Ref": "{parameter}"}}', "")
        refers = re.search(r'"(Ref|Fn::GetAtt)": \[?"((?:Register|Registration)\w+)"', text)
        if refers or re.match("Register|Registration", name):
            assert body.get("Condition") == "Registration", name


@pytest.mark.parametrize(
    "url",
    [
        "http://authorization.example.com",
        "http://127.0.0.1:8081@authorization.example.com",
        "http://127.0.0.1:8081/?a=b",
        "https://authorization.example.com/?a=b",
        "https://authorization.example.com/#a",
        "https://authorization example.com",
    ],
)
def test_malformed_authorization_service_url_is_refused(url: str) -> None:
    """The URL is https and has no query, so that a path can be appended."""
    pattern = template()["Parameters"]["AuthorizationServiceUrl"]["AllowedPattern"]
    assert re.fullmatch(pattern, "https://authorization.example.com/base")
    assert not re.fullmatch(pattern, url)


def test_both_functions_get_the_authorization_service_url() -> None:
    """One parameter switches the writer and the worker of pending registrations."""
    for function in ("RunsFunction", NAME):
        variables = properties(FUNCTION, function)["Environment"]["Variables"]
        assert variables["AUTHORIZATION_SERVICE_URL"] == {"Ref": "AuthorizationServiceUrl"}
        assert variables["RUNS_TABLE"] == {"Ref": "RunsTable"}


def test_rollout_is_decided_by_the_writer_of_outbox_entries() -> None:
    """RegisterResourcesFunction settles every entry, also of a project that is off again."""
    runs, worker = (
        properties(FUNCTION, name)["Environment"]["Variables"] for name in ("RunsFunction", NAME)
    )
    assert runs["REGISTRATION_PROJECTS"] == {"Ref": "RegistrationProjects"}
    assert "REGISTRATION_PROJECTS" not in worker
    for variable in ("REGISTRATION_PRINCIPAL", "REGISTRATION_ACCOUNT_ID", "REGISTRATION_COUNTERS"):
        assert runs[variable] == worker[variable]


@pytest.mark.parametrize(
    ("projects", "is_valid"),
    [
        ("", True),
        ("apollo", True),
        ("apollo,gemini-2", True),
        ("apollo,", False),
        ("Apollo", False),
        ("apollo gemini", False),
    ],
)
def test_projects_are_names_separated_by_commas(projects: str, is_valid: bool) -> None:  # noqa: FBT001 - a column
    """A name with a typing error is refused before anything is deployed."""
    pattern = template()["Parameters"]["RegistrationProjects"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, projects)) == is_valid


def test_request_ends_before_its_intended_grant_is_revoked() -> None:
    """No request of RunsFunction lives as long as its revocation waits."""
    assert properties(FUNCTION, "RunsFunction")["Timeout"] < REQUEST_SECONDS


def test_failing_record_does_not_block_the_stream() -> None:
    """All limits of the mapping are set. Without them one record could block a shard for a day."""
    mapping = _changes()
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["RunsTable", "StreamArn"]}
    assert mapping["MaximumRetryAttempts"] == 3
    assert mapping["MaximumRecordAgeInSeconds"] == 3_600
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["DestinationConfig"] == ON_FAILURE
    # No record is missed between the deployment and the first poll.
    assert mapping["StartingPosition"] == "TRIM_HORIZON"


def test_batches_of_a_shard_run_concurrently() -> None:
    """A batch is one round of the function's threads, and a shard has as many as Lambda allows."""
    assert _changes()["BatchSize"] == CONCURRENCY
    assert _changes()["ParallelizationFactor"] == 10


NEW_RUN = {
    "project": {"S": "apollo"},
    "id": {"S": "1"},
    **{name: {"S": "1"} for name in ENTRY_ATTRIBUTES},
}


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
def test_only_new_pending_rows_invoke(event: str, image: Any, is_let_through: bool) -> None:  # noqa: FBT001 - a column
    """Created and deleted runs invoke the function. Its own writes and other rows do not, nor does
    the removal of a run whose retention is over."""
    filters = _changes()["FilterCriteria"]["Filters"]
    [pattern] = [json.loads(each["Pattern"]) for each in filters]
    record: Json = {"eventName": event, "dynamodb": {"Keys": {}}}
    if image is not None:
        record["dynamodb"]["NewImage"] = image
    assert matches(pattern, record) == is_let_through


def test_pass_ends_before_the_next() -> None:
    """The timeout allows two rounds of both calls for a run, with all attempts and waits."""
    assert _pass()["ScheduleExpression"] == "rate(5 minutes)"
    timeout = properties(FUNCTION, NAME)["Timeout"]
    assert 4 * DELIVERY_SECONDS < timeout < 300


def test_late_pass_is_dropped_into_the_dead_letters() -> None:
    """A late or failed pass is not retried, and its event is kept."""
    assert _pass()["Target"]["RetryPolicy"] == {
        "MaximumRetryAttempts": 1,
        "MaximumEventAgeInSeconds": 300,
    }
    assert _pass()["Target"]["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
    invoke = properties("AWS::Lambda::EventInvokeConfig", f"{NAME}EventInvokeConfig")
    assert (invoke["MaximumRetryAttempts"], invoke["MaximumEventAgeInSeconds"]) == (0, 300)
    assert invoke["DestinationConfig"] == ON_FAILURE


def test_dead_letters_are_encrypted_and_kept() -> None:
    """Dead letters are encrypted and kept for 14 days, the maximum."""
    queue = Deployment({}).properties("RegistrationDeadLetters")
    assert queue == {"MessageRetentionPeriod": 14 * 86_400, "SqsManagedSseEnabled": True}


def test_pending_age_alarm_allows_for_unknown_outcomes() -> None:
    """A deletion that waits for a registration of unknown outcome does not raise the alarm."""
    threshold = properties("AWS::CloudWatch::Alarm", "OldestPendingAgeAlarm")["Threshold"]
    assert threshold >= SETTLE_SECONDS + 2 * 300


def test_registration_function_has_no_snapshot() -> None:
    """No caller waits for its cold start, and an idle snapshot costs money."""
    assert "SnapStart" not in properties(FUNCTION, NAME)


def _changes() -> Json:
    return properties("AWS::Lambda::EventSourceMapping", f"{NAME}Changes")


def _pass() -> Json:
    return properties("AWS::Scheduler::Schedule", f"{NAME}Pass")
