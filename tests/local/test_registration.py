"""Registration on one machine: the same function, stream and schedule, with a service beside it."""

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
    with serve_authorization() as service:
        yield service


@pytest.fixture(scope="module")
def stack(service: AuthorizationStandIn) -> Iterator[Stack]:
    with Stack(authorization_service_url=service.url) as stack:
        yield stack


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_run_is_known_to_the_service_while_it_is_there(
    stack: Stack, service: AuthorizationStandIn
) -> None:
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


def test_what_was_refused_is_backfilled(stack: Stack, service: AuthorizationStandIn) -> None:
    """`make backfill`, with the addresses of the stack that runs here."""
    table = stack.aws.client("dynamodb")
    run = "01M6DMBE000000000000000099"
    service.faults.append(Fails(403))
    row = {"project": "apollo", "id": run, "unregistered": "9"}
    marked = {name: {"S": value} for name, value in row.items()}
    marked["unregistered_since"] = {"S": "2026-11-22T08:00:00.000Z"}
    table.put_item(TableName="RunsTable", Item=marked)
    key = {"project": {"S": "apollo"}, "id": {"S": run}}
    wait_until(
        lambda: "registration_error" in table.get_item(TableName="RunsTable", Key=key)["Item"]
    )
    with on_this_machine(service.url, aws=stack.aws.url) as invoke:
        assert backfill(invoke, say=lambda _: None) == 0
    assert run in service.graph.tasks


def test_sample_events_are_answered(stack: Stack) -> None:
    """What `sam local invoke RegisterResourcesFunction` gets."""
    function = stack.functions["RegisterResourcesFunction"]
    for name in ("register-created", "register-deleted"):
        assert function.invoke(event(name)) == {"batchItemFailures": []}
    for name in ("register-pass", "register-backfill"):
        assert function.invoke(event(name)).keys() == {"registered", "deregistered", "pending"}
    [record] = event("register-deleted")["Records"]
    assert record["dynamodb"]["Keys"]["id"]["S"] == SAMPLE_RUN_IDS["delete-run"]


def test_batch_with_a_failure_comes_again_from_there_on(stack: Stack) -> None:
    """And is given up after so many times, so that what follows has its turn."""
    table = stack.aws.client("dynamodb")
    handed: list[list[str]] = []
    said: list[str] = []

    def invoke(event: dict[str, list[dict[str, dict[str, str]]]]) -> object:
        numbers = [record["dynamodb"]["SequenceNumber"] for record in event["Records"]]
        handed.append(numbers)
        return {"batchItemFailures": [{"itemIdentifier": numbers[-1]}]}

    poller = StreamPoller(
        "RunsTable",
        streams=stack.aws.client("dynamodbstreams"),
        invoke=invoke,
        filters=[{"dynamodb": {"Keys": {"project": {"S": ["poller"]}}}}],
        batch_size=1000,
        retries=2,
        log=said.append,
    )
    for number in range(3):
        table.put_item(
            TableName="RunsTable", Item={"project": {"S": "poller"}, "id": {"S": str(number)}}
        )
    with poller:
        wait_until(lambda: bool(said))
    assert [len(numbers) for numbers in handed] == [3, 1, 1]
    assert "1 changes are given up" in said[0]


@pytest.mark.parametrize(
    ("pattern", "is_let_through"),
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
def test_filter_lets_through_what_lambda_would(
    pattern: dict[str, object], is_let_through: object
) -> None:
    """Names are all of them to fit, of the choices one."""
    assert matches(pattern, {"a": "x", "b": {"c": "1"}}) == is_let_through
