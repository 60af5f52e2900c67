"""RegisterResourcesFunction as Lambda runs it: batches of the stream, passes, and what is left."""

import importlib
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from serve_runs.access.context import Act
from serve_runs.audit.records import AuditTrail

from byline.aws import dynamodb
from byline.errors import Misconfigured
from byline.identity.caller import Caller
from byline.registration.outbox import unregistered_mark
from register_resources.pending_rows import RunKey, UnregisteredRows
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.store import RunStore
from stand_ins.authorization_service import (
    AuthorizationStandIn,
    Fails,
    Hangs,
    serve_authorization,
)
from tests.refresh.deployment import Context
from tests.runs.runs_api import log_to_standard_output, metrics
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, Refusal, serve_dynamodb
from tools.register_events import record_of

MODULES = ("register_resources.handler", "register_resources.metrics")
"""The modules that keep something between invocations: each environment has them anew."""

ADA = Caller("user", "bearer", "https://issuer.example", "ada", "ada", "ada")


@dataclass
class Deployment:
    """The function, the table before it and the service behind it."""

    function: ModuleType
    table: DynamoDb
    service: AuthorizationStandIn

    def store(self, *, age: float = 0) -> RunStore:
        """RunsFunction's, so many seconds ago."""

        def now() -> float:
            return time.time() - age

        client = self.table.client
        audit = AuditTrail(client, ACCESS_TABLE, now=now)
        ids = iter(lambda: f"01M6DMBE00{uuid4().int % 10**16:016}", "")
        return RunStore(
            client, TABLE, audit=audit, now=now, new_id=ids.__next__, mark=unregistered_mark
        )

    def create(self, *, age: float = 0) -> RunKey:
        act = Act(ADA, str(uuid4()))
        run = self.store(age=age).create(CreateRun(), project="apollo", act=act)
        return RunKey("apollo", run["id"]["S"])

    def delete(self, key: RunKey) -> None:
        self.store().delete(key.project, key.run, act=Act(ADA, str(uuid4())))

    def deliver(self, *keys: RunKey, seconds: float = 100) -> list[str]:
        """A batch of the stream; the numbers of the records that are to come again."""
        records = [
            record_of(project=key.project, run_id=key.run, number=str(number))
            for number, key in enumerate(keys)
        ]
        answer = self.invoke({"Records": records}, seconds=seconds)
        return [item["itemIdentifier"] for item in answer["batchItemFailures"]]

    def invoke(self, event: Any, *, seconds: float = 100) -> Any:
        event = json.loads(json.dumps(event))
        answer = self.function.handler(event, Context(time.time() + seconds))
        return json.loads(json.dumps(answer))

    @property
    def alive(self) -> set[str]:
        """The runs that there are."""
        return {row["id"]["S"] for row in self.table.rows() if row["project"]["S"] == "apollo"}

    @property
    def marked(self) -> set[str]:
        return {row["id"]["S"] for row in self.table.rows() if "unregistered" in row}


@pytest.fixture(scope="module")
def server() -> Iterator[DynamoDb]:
    with serve_dynamodb(role="RegisterResourcesRole") as server:
        yield server


@pytest.fixture
def deployment(server: DynamoDb, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    server.reset()
    with serve_authorization() as service:
        monkeypatch.setenv("RUNS_TABLE", TABLE)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AUTHORIZATION_SERVICE_URL", f"{service.url}/")
        with _imported_anew() as function:
            log_to_standard_output()
            yield Deployment(function, server, service)


class _imported_anew:  # noqa: N801 - a context manager
    """The function's module at a cold start."""

    def __enter__(self) -> ModuleType:
        dynamodb.cache_clear()
        self._kept = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
        return importlib.import_module("register_resources.handler")

    def __exit__(self, *_: object) -> None:
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(self._kept)
        dynamodb.cache_clear()


def test_batch_is_registered_and_deregistered(deployment: Deployment) -> None:
    """Each run of the batch is registered or deregistered as its row says."""
    one, other = deployment.create(), deployment.create()
    assert deployment.deliver(one, other) == []
    assert deployment.service.graph.tasks == {one.run, other.run}
    deployment.delete(one)
    assert deployment.deliver(RunKey("deleted#apollo", one.run)) == []
    assert deployment.service.graph.tasks == {other.run}
    assert deployment.marked == set()


def test_record_that_comes_twice_is_told_once(deployment: Deployment) -> None:
    """In one batch and in the next."""
    run = deployment.create()
    assert deployment.deliver(run, run) == []
    assert deployment.deliver(run) == []
    assert len(deployment.service.requests) == 1


def test_refusal_of_the_service_is_not_delivered_again(deployment: Deployment) -> None:
    """The stream goes on; the row keeps its mark, and the pass and people see it."""
    run = deployment.create()
    deployment.service.faults.append(Fails(403))
    assert deployment.deliver(run) == []
    assert deployment.marked == {run.run}


def test_failure_of_the_table_is_delivered_again(deployment: Deployment) -> None:
    """Only the records that it concerns."""
    run, other = deployment.create(), deployment.create()
    deployment.deliver(other)
    deployment.table.troubles.extend([Refusal("UpdateItem", "AccessDeniedException")])
    assert deployment.deliver(run) == ["0"]
    assert deployment.deliver(run) == []
    assert deployment.service.graph.tasks == {run.run, other.run}


def test_pass_registers_what_no_event_told_of(deployment: Deployment) -> None:
    """A pass registers every pending run of every page of the index, without any stream event."""
    runs = {deployment.create().run for _ in range(20)}
    gone = deployment.create()
    deployment.delete(gone)
    answer = deployment.invoke({"detail-type": "Scheduled Event"})
    assert answer == {"registered": 20, "deregistered": 1, "pending": 0}
    assert deployment.service.graph.tasks == runs
    assert deployment.marked == set()


def test_pass_leaves_what_was_refused_and_a_backfill_does_not(deployment: Deployment) -> None:
    """A pass skips runs that the service refused; a backfill tries them again."""
    run = deployment.create()
    deployment.service.faults.append(Fails(403))
    deployment.deliver(run)
    assert deployment.invoke({}) == {"registered": 0, "deregistered": 0, "pending": 1}
    assert len(deployment.service.requests) == 1
    answer = deployment.invoke({"backfill": True})
    assert answer == {"registered": 1, "deregistered": 0, "pending": 0}
    assert deployment.marked == set()


def test_pass_tells_what_is_left(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pass reports the number of pending and of refused runs, and the age of the oldest."""
    old = deployment.create(age=3_600)
    deployment.create()
    deployment.service.faults.append(Fails(403))
    deployment.deliver(old)
    deployment.service.faults.append(Fails(403))
    capsys.readouterr()
    deployment.invoke({})
    lines = capsys.readouterr().out.splitlines()
    [state] = metrics(lines, "PendingRegistrations")
    assert state["PendingRegistrations"] == [2]
    assert state["RefusedRegistrations"] == [1]
    assert 3_600 <= state["OldestPendingAge"][0] < 3_660
    assert state["RegistrationPasses"] == [1]


def test_pass_that_cannot_see_all_does_not_tell_that_all_is_well(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """It settles the rest, says that it was there, and fails."""
    runs = [deployment.create() for _ in range(5)]
    deployment.table.troubles.append(Refusal("Query", "AccessDeniedException"))
    capsys.readouterr()
    with pytest.raises(Exception, match="AccessDenied"):
        deployment.invoke({})
    lines = capsys.readouterr().out.splitlines()
    assert metrics(lines, "RegistrationPasses")
    assert not metrics(lines, "PendingRegistrations")
    deployment.invoke({})
    assert deployment.service.graph.tasks == {run.run for run in runs}


def test_calls_are_counted_by_operation_and_class(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attempts, retries and failures are counted by operation and error class."""
    run = deployment.create()
    deployment.service.faults.extend([Fails(503), Fails(401)])
    capsys.readouterr()
    deployment.deliver(run)
    lines = capsys.readouterr().out.splitlines()
    by_class = [m for m in metrics(lines, "RegistrationFailure") if "error_class" in m]
    assert [(m["operation"], m["error_class"]) for m in by_class] == [("register", "unauthorized")]
    [retry] = [m for m in metrics(lines, "RegistrationRetry") if "error_class" in m]
    assert retry["error_class"] == "unavailable"
    [attempts] = [m for m in metrics(lines, "RegistrationAttempt") if "operation" not in m]
    assert attempts["RegistrationAttempt"] == [2]


def test_failure_is_logged_by_names_alone(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure's log line names the run and the error class, never the service's answer."""
    run = deployment.create()
    deployment.service.faults.append(Fails(500, b"S3CRET of the service"))
    capsys.readouterr()
    deployment.deliver(run)
    said = capsys.readouterr()
    assert "S3CRET" not in said.out + said.err
    [line] = [json.loads(text) for text in said.out.splitlines() if "registration failed" in text]
    assert (line["project"], line["run"]) == ("apollo", run.run)
    assert (line["operation"], line["error_class"]) == ("register", "unexpected_status")


def test_service_that_is_down_is_not_asked_for_all_that_waits(deployment: Deployment) -> None:
    """After two rounds without a success the pass ends: the next one looks whether it is back."""
    for _ in range(40):
        deployment.create()
    deployment.service.faults.extend([Fails(500)] * 100)
    answer = deployment.invoke({})
    assert answer == {"registered": 0, "deregistered": 0, "pending": 40}
    assert len(deployment.service.requests) == 16


def test_pass_ends_before_lambda_ends_it(deployment: Deployment) -> None:
    """Without the time for a call, nothing is asked, and everything is pending."""
    deployment.create()
    answer = deployment.invoke({"backfill": True}, seconds=12)
    assert answer["pending"] == 1
    assert not deployment.service.requests


@pytest.mark.parametrize("value", ["", "http://authorization.example.com", "https://a.example/?b"])
def test_address_that_is_none_fails_the_cold_start(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the message names the variable."""
    monkeypatch.setenv("RUNS_TABLE", TABLE)
    monkeypatch.setenv("AUTHORIZATION_SERVICE_URL", value)
    with pytest.raises(Misconfigured, match="AUTHORIZATION_SERVICE_URL"), _imported_anew():
        pass


def test_graph_becomes_the_table_while_everything_fails_at_once(deployment: Deployment) -> None:
    """The fault test again, with real threads, real HTTP and the function itself."""
    random = Random(1815)  # noqa: S311 - to be the same again
    troubles = (
        Fails(503),
        Fails(502, is_done=True),
        Fails(200, b"garbage", is_done=True),
        Fails(403),
        Hangs("at once", is_reset=True),
        Hangs("never", is_reset=True),
    )
    deployment.service.faults.extend(random.choice(troubles) for _ in range(60))

    def live(number: int) -> None:
        run = deployment.create()
        deployment.deliver(run)
        if number % 2:
            deployment.delete(run)
            deployment.deliver(run, run)

    with ThreadPoolExecutor(4) as threads:
        passes = [threads.submit(deployment.invoke, {"backfill": True}) for _ in range(2)]
        for life in [threads.submit(live, number) for number in range(12)]:
            life.result()
        for each in passes:
            each.result()
    deployment.service.faults.clear()
    _let_doubts_settle(deployment)
    deployment.invoke({"backfill": True})
    assert deployment.marked == set()
    assert deployment.service.graph.tasks == deployment.alive
    assert len(deployment.alive) == 6


def _let_doubts_settle(deployment: Deployment) -> None:
    """The quarter of an hour that a test does not wait: doubts and claims are over."""
    client = deployment.table.client
    for row in deployment.table.rows():
        if row["project"]["S"].startswith("registration#"):
            key = {name: row[name] for name in ("project", "id")}
            client.delete_item(TableName=TABLE, Key=key)


def test_index_is_read_to_its_end(server: DynamoDb) -> None:
    """A page after the first is asked for by where the one before it ended."""
    server.reset()
    pages: list[dict[str, Any]] = []

    class Paged:
        """A client whose pages hold a row each."""

        def query(self, **query: Any) -> Any:
            pages.append(query)
            return server.client.query(**query, Limit=1)

    for number in range(3):
        run = f"01M6DMBE00000000000000{number:03}0"
        keys = {"project": {"S": "apollo"}, "id": {"S": run}}
        mark = unregistered_mark(run, since=f"2026-11-22T00:00:0{number}Z")
        server.client.put_item(TableName=TABLE, Item={**keys, **mark})
    client: Any = Paged()
    found = list(UnregisteredRows(client, TABLE).waiting("0"))
    assert [row.since[-2] for row in found] == ["0", "1", "2"]
    assert len(pages) >= 3
