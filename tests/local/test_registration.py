"""Registration in the local stack, with the stand-in for the authorization service."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from local.stack import Stack
from local.stream_poller import StreamPoller, matches
from stand_ins.authorization_service import (
    AuthorizationStandIn,
    Fails,
    serve_authorization,
)
from tests.events.samples import event
from tools.backfill import backfill, on_this_machine
from tools.make_events import SAMPLE_RUN_IDS

pytestmark = pytest.mark.stack

RUNS = "/v1/projects/apollo/runs"


@pytest.fixture(scope="module")
def service() -> Iterator[AuthorizationStandIn]:
    """The authorization service."""
    with serve_authorization() as service:
        yield service


@pytest.fixture(scope="module")
def stack(service: AuthorizationStandIn) -> Iterator[Stack]:
    """A stack that registers runs at the service."""
    with Stack(authorization_service_url=service.url) as stack:
        yield stack


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. Fails after 30 seconds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "the condition was not met within 30 seconds"
        time.sleep(0.1)


def test_run_is_registered_until_it_is_deleted(stack: Stack, service: AuthorizationStandIn) -> None:
    """A created run is registered through the stream, and a deleted run is deregistered."""
    answer = httpx.post(
        f"{stack.issuer}/token",
        auth=("nightly-train", "nightly-train-secret"),
        data={"grant_type": "client_credentials"},
    )
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    with httpx.Client(base_url=stack.url, headers=bearer) as client:
        run = client.post(RUNS, json={"agent": "forecaster"}).json()["id"]
        wait_until(lambda: run in service.graph.tasks)
        assert service.graph.parents["task", run] == ("agent", "forecaster")
        assert client.delete(f"{RUNS}/{run}").status_code == 204
        wait_until(lambda: run not in service.graph.tasks)


def test_refused_registration_succeeds_in_the_backfill(
    stack: Stack, service: AuthorizationStandIn
) -> None:
    """A backfill registers a run that the service refused before."""
    table = stack.aws.client("dynamodb")
    run = "01M6DMBE000000000000000099"
    service.faults.append(Fails(403))
    row = {"project": "apollo", "id": run, "unregistered": "9"}
    item = {name: {"S": value} for name, value in row.items()}
    item["unregistered_since"] = {"S": "2026-11-22T08:00:00.000Z"}
    table.put_item(TableName="RunsTable", Item=item)
    key = {"project": {"S": "apollo"}, "id": {"S": run}}
    wait_until(
        lambda: "registration_error" in table.get_item(TableName="RunsTable", Key=key)["Item"]
    )
    with on_this_machine(service.url, aws=stack.aws.url) as invoke:
        assert backfill(invoke, say=lambda _: None) == 0
    assert run in service.graph.tasks


def test_sample_events_are_answered(stack: Stack) -> None:
    """RegisterResourcesFunction answers each sample event without a failure."""
    function = stack.functions["RegisterResourcesFunction"]
    for name in ("register-created", "register-deleted"):
        assert function.invoke(event(name)) == {"batchItemFailures": []}
    for name in ("register-pass", "register-backfill"):
        assert function.invoke(event(name)).keys() == {
            "registered",
            "deregistered",
            "revoked",
            "pending",
        }
    [record] = event("register-deleted")["Records"]
    assert record["dynamodb"]["Keys"]["id"]["S"] == SAMPLE_RUN_IDS["delete-run"]


def test_failed_record_is_redelivered_until_the_retries_end(stack: Stack) -> None:
    """A batch repeats from its failed record on, which is given up after two retries."""
    table = stack.aws.client("dynamodb")
    batches: list[list[str]] = []
    log: list[str] = []

    def invoke(event: dict[str, list[dict[str, dict[str, str]]]]) -> object:
        numbers = [record["dynamodb"]["SequenceNumber"] for record in event["Records"]]
        batches.append(numbers)
        return {"batchItemFailures": [{"itemIdentifier": numbers[-1]}]}

    poller = StreamPoller(
        "RunsTable",
        streams=stack.aws.client("dynamodbstreams"),
        invoke=invoke,
        filters=[{"dynamodb": {"Keys": {"project": {"S": ["poller"]}}}}],
        batch_size=1000,
        retries=2,
        log=log.append,
    )
    for number in range(3):
        table.put_item(
            TableName="RunsTable", Item={"project": {"S": "poller"}, "id": {"S": str(number)}}
        )
    with poller:
        wait_until(lambda: bool(log))
    assert [len(numbers) for numbers in batches] == [3, 1, 1]
    assert "1 changes are given up" in log[0]


@pytest.mark.parametrize(
    ("pattern", "is_match"),
    [
        ({"a": ["x"]}, True),
        ({"a": ["y"]}, False),
        ({"a": ["y", "x"]}, True),
        ({"a": [{"exists": True}]}, True),
        ({"a": [{"exists": False}]}, False),
        ({"b": {"c": [{"exists": True}]}}, True),
        ({"b": {"d": [{"exists": True}]}}, False),
        ({"b": {"d": [{"exists": False}]}}, True),
        ({"e": {"d": ["x"]}}, False),
        ({"a": ["x"], "b": {"c": ["2"]}}, False),
    ],
)
def test_filter_matches_the_same_records_as_lambda(
    pattern: dict[str, object], is_match: object
) -> None:
    """A filter matches if every name in it matches, by one of its choices."""
    assert matches(pattern, {"a": "x", "b": {"c": "1"}}) == is_match
