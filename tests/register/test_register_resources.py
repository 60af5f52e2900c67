"""RegisterResourcesFunction as Lambda runs it: batches of the stream, passes, and their reports."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from byline.aws import dynamodb
from byline.errors import Misconfigured
from byline.identity.caller import Caller
from byline.registration.authorization_service import ATTEMPTS
from byline.registration.outbox import Outbox, outbox_entry
from byline.registration.principals import typed
from register_resources.backlog import CONCURRENCY, MAX_FAILURES
from register_resources.pending import PendingRegistrations, RunKey
from serve_runs.audit.trail import ActionContext, AuditTrail
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
from tests.runs.table_server import (
    ACCESS_TABLE,
    TABLE,
    DynamoDb,
    LostAnswer,
    Refusal,
    serve_dynamodb,
)
from tools.register_events import record_of

ADA = Caller("user", "bearer", "https://issuer.example", "ada", "ada", "ada")


@dataclass
class RegistrationDeployment:
    """The function, its table and the authorization service."""

    handler: Callable[[Any, Any], Any]
    table: DynamoDb
    service: AuthorizationStandIn

    def store(self, *, age: float = 0) -> RunStore:
        """The store of RunsFunction, with a clock that is `age` seconds late."""

        def now() -> float:
            return time.time() - age

        client = self.table.client
        audit = AuditTrail(client, ACCESS_TABLE, now=now)
        ids = iter(lambda: f"01M6DMBE00{uuid4().int % 10**16:016}", "")
        return RunStore(client, TABLE, audit=audit, now=now, new_id=ids.__next__, outbox=Outbox())

    def create(self, *, age: float = 0) -> RunKey:
        action = ActionContext(ADA, str(uuid4()))
        run, _ = self.store(age=age).create(CreateRun(), project="apollo", action=action)
        return RunKey("apollo", run["id"]["S"])

    def delete(self, key: RunKey) -> None:
        self.store().delete(key.project, key.run, action=ActionContext(ADA, str(uuid4())))

    def deliver(self, *keys: RunKey, seconds: float = 100) -> list[str]:
        """Deliver a batch of the stream. Returns the numbers of the records that failed."""
        records = [
            record_of(project=key.project, run_id=key.run, number=str(number))
            for number, key in enumerate(keys)
        ]
        answer = self.invoke({"Records": records}, seconds=seconds)
        return [item["itemIdentifier"] for item in answer["batchItemFailures"]]

    def invoke(self, event: Any, *, seconds: float = 100) -> Any:
        event = json.loads(json.dumps(event))
        answer = self.handler(event, Context(time.time() + seconds))
        return json.loads(json.dumps(answer))

    @property
    def alive(self) -> set[str]:
        """The ids of the runs that exist."""
        return {row["id"]["S"] for row in self.table.rows() if row["project"]["S"] == "apollo"}

    @property
    def pending(self) -> set[str]:
        """The ids of the runs with an outbox entry."""
        return {row["id"]["S"] for row in self.table.rows() if "unregistered" in row}


@pytest.fixture(scope="module")
def server() -> Iterator[DynamoDb]:
    with serve_dynamodb() as server:
        yield server


@pytest.fixture
def deployment(
    server: DynamoDb, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RegistrationDeployment]:
    server.reset()
    with serve_authorization() as service:
        environ = {
            "RUNS_TABLE": TABLE,
            "AUTHORIZATION_SERVICE_URL": f"{service.url}/",
            "POWERTOOLS_SERVICE_NAME": "stage",
        }
        for name, value in {**environ, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        dynamodb.cache_clear()
        function = build(environ)
        log_to_standard_output()
        yield RegistrationDeployment(function, server, service)
        dynamodb.cache_clear()


def counts(*, pending: int, **settled: int) -> dict[str, int]:
    """The answer of a pass."""
    return {"registered": 0, "deregistered": 0, "revoked": 0, **settled, "pending": pending}


def build(environ: dict[str, str]) -> Callable[[Any, Any], Any]:
    """The function's handler. Its module is imported late, because it needs the environment too."""
    handler: Callable[[Any, Any], Any] = import_module("register_resources.handler").build(environ)
    return handler


def test_batch_is_registered_and_deregistered(deployment: RegistrationDeployment) -> None:
    """Each run of the batch is registered or deregistered as its row says."""
    one, other = deployment.create(), deployment.create()
    assert deployment.deliver(one, other) == []
    assert deployment.service.graph.tasks == {one.run, other.run}
    deployment.delete(one)
    assert deployment.deliver(RunKey("deleted#apollo", one.run)) == []
    assert deployment.service.graph.tasks == {other.run}
    assert deployment.pending == set()


def test_record_delivered_twice_registers_the_run_once(deployment: RegistrationDeployment) -> None:
    """The second record makes no call, in the same batch and in the next one."""
    run = deployment.create()
    assert deployment.deliver(run, run) == []
    assert deployment.deliver(run) == []
    assert len(deployment.service.requests) == 1


def test_refusal_of_the_service_is_not_delivered_again(deployment: RegistrationDeployment) -> None:
    """The stream goes on, and the run keeps its outbox entry for passes and operators."""
    run = deployment.create()
    deployment.service.faults.append(Fails(403))
    assert deployment.deliver(run) == []
    assert deployment.pending == {run.run}


def test_record_is_delivered_again_after_a_failure_of_the_table(
    deployment: RegistrationDeployment,
) -> None:
    """Lambda delivers the record of the failed run again, and no other."""
    run, other = deployment.create(), deployment.create()
    deployment.deliver(other)
    deployment.table.faults.extend([Refusal("UpdateItem", "AccessDeniedException")])
    assert deployment.deliver(run) == ["0"]
    assert deployment.deliver(run) == []
    assert deployment.service.graph.tasks == {run.run, other.run}


def test_lost_answer_of_the_claim_does_not_delay_the_registration(
    deployment: RegistrationDeployment,
) -> None:
    """The worker goes on with the claim that its repeated call finds."""
    run = deployment.create()
    deployment.table.faults.append(LostAnswer("UpdateItem"))
    assert deployment.deliver(run) == []
    assert deployment.service.graph.tasks == {run.run}
    assert deployment.pending == set()


def test_conflict_with_a_start_of_the_run_is_retried(deployment: RegistrationDeployment) -> None:
    """DynamoDB refuses an update while a transaction changes the same row."""
    run = deployment.create()
    busy = Refusal("UpdateItem", "TransactionConflictException")
    deployment.table.faults.extend([busy, busy])
    assert deployment.deliver(run) == []
    assert deployment.service.graph.tasks == {run.run}
    assert deployment.pending == set()


def test_pass_registers_runs_without_an_event(deployment: RegistrationDeployment) -> None:
    """A pass registers every pending run of every page of the index, without any stream event."""
    runs = {deployment.create().run for _ in range(20)}
    gone = deployment.create()
    deployment.delete(gone)
    answer = deployment.invoke({"detail-type": "Scheduled Event"})
    assert answer == counts(registered=20, deregistered=1, pending=0)
    assert deployment.service.graph.tasks == runs
    assert deployment.pending == set()


def test_pass_skips_refused_runs_and_a_backfill_does_not(
    deployment: RegistrationDeployment,
) -> None:
    """A pass skips runs that the service refused; a backfill tries them again."""
    run = deployment.create()
    deployment.service.faults.append(Fails(403))
    deployment.deliver(run)
    assert deployment.invoke({}) == counts(pending=1)
    assert len(deployment.service.requests) == 1
    answer = deployment.invoke({"backfill": True})
    assert answer == counts(registered=1, pending=0)
    assert deployment.pending == set()


def test_pass_reports_what_is_left(
    deployment: RegistrationDeployment, capsys: pytest.CaptureFixture[str]
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


def test_pass_with_an_unread_shard_fails_without_a_report(
    deployment: RegistrationDeployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """It settles the runs of the other shards and counts the pass."""
    runs = [deployment.create() for _ in range(5)]
    deployment.table.faults.append(Refusal("Query", "AccessDeniedException"))
    capsys.readouterr()
    with pytest.raises(Exception, match="AccessDenied"):
        deployment.invoke({})
    lines = capsys.readouterr().out.splitlines()
    assert metrics(lines, "RegistrationPasses")
    assert not metrics(lines, "PendingRegistrations")
    deployment.invoke({})
    assert deployment.service.graph.tasks == {run.run for run in runs}


def test_calls_are_counted_by_operation_and_error_class(
    deployment: RegistrationDeployment, capsys: pytest.CaptureFixture[str]
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


def test_log_of_a_failure_does_not_quote_the_service(
    deployment: RegistrationDeployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure's log line names the run and the error class, never the service's answer."""
    run = deployment.create()
    deployment.service.faults.extend([Fails(500, b"S3CRET of the service")] * ATTEMPTS)
    capsys.readouterr()
    deployment.deliver(run)
    said = capsys.readouterr()
    assert "S3CRET" not in said.out + said.err
    [line] = [json.loads(text) for text in said.out.splitlines() if "registration failed" in text]
    assert (line["project"], line["run"]) == ("apollo", run.run)
    assert (line["operation"], line["error_class"]) == ("register", "server_error")


def test_pass_ends_early_while_the_service_is_down(deployment: RegistrationDeployment) -> None:
    """After two batches without a success the pass leaves the rest to the next one."""
    for _ in range(40):
        deployment.create()
    deployment.service.faults.extend([Fails(500)] * 100)
    answer = deployment.invoke({})
    assert answer == counts(pending=40)
    assert len(deployment.service.requests) == 16 * ATTEMPTS


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_runs_that_met_an_outage_are_registered_by_the_next_pass(
    deployment: RegistrationDeployment, status: int
) -> None:
    """Three runs met a service without capacity. No backfill is needed when it is well again."""
    runs = [deployment.create() for _ in range(3)]
    deployment.service.faults.extend([Fails(status)] * 3 * ATTEMPTS)
    assert deployment.deliver(*runs) == []
    assert not deployment.service.graph.tasks
    assert deployment.invoke({}) == counts(registered=3, pending=0)
    assert deployment.service.graph.tasks == {run.run for run in runs}


def test_pause_of_the_service_holds_for_other_workers(
    deployment: RegistrationDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new process makes no call until the time for which the service asked, then registers."""
    run, other = deployment.create(), deployment.create()
    deployment.service.faults.append(Fails(429, retry_after="600"))
    deployment.deliver(run)
    new = replace(deployment, handler=build(dict(os.environ)))
    assert new.deliver(other) == []
    assert new.invoke({"backfill": True}) == {
        "registered": 0,
        "deregistered": 0,
        "revoked": 0,
        "pending": 2,
    }
    assert len(deployment.service.requests) == 1
    later = time.time() + 601
    monkeypatch.setattr(time, "time", lambda: later)
    newest = replace(deployment, handler=build(dict(os.environ)))
    assert newest.invoke({}) == counts(registered=2, pending=0)


def test_runs_that_always_fail_do_not_end_a_pass_before_the_others(
    deployment: RegistrationDeployment,
) -> None:
    """A pass settles the runs without an error first."""
    for _ in range(MAX_FAILURES):
        poison = deployment.create()
        key = {"project": {"S": poison.project}, "id": {"S": poison.run}}
        deployment.table.client.update_item(
            TableName=TABLE,
            Key=key,
            UpdateExpression="SET registration_error = :error",
            ExpressionAttributeValues={":error": {"S": "server_error"}},
        )
    fresh = {deployment.create().run for _ in range(CONCURRENCY)}
    deployment.invoke({}, seconds=100)
    order = [call.resource[1] for call in deployment.service.graph.calls]
    assert set(order[:CONCURRENCY]) == fresh


def test_pass_without_time_for_a_call_makes_none(deployment: RegistrationDeployment) -> None:
    """All registrations stay pending."""
    deployment.create()
    answer = deployment.invoke({"backfill": True}, seconds=12)
    assert answer["pending"] == 1
    assert not deployment.service.requests


@pytest.mark.parametrize("value", ["", "http://authorization.example.com", "https://a.example/?b"])
def test_bad_address_of_the_service_fails_the_cold_start(
    value: str, deployment: RegistrationDeployment
) -> None:
    """The message names the variable."""
    with pytest.raises(Misconfigured, match="AUTHORIZATION_SERVICE_URL"):
        build({"RUNS_TABLE": TABLE, "AUTHORIZATION_SERVICE_URL": value})


def test_concurrent_workers_with_faults_leave_graph_and_table_equal(
    deployment: RegistrationDeployment,
) -> None:
    """The test of random faults again, with real threads, real HTTP and the function itself."""
    random = Random(1815)  # noqa: S311 - a test must be repeatable
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
    _end_doubts(deployment)
    deployment.invoke({"backfill": True})
    assert deployment.pending == set()
    assert deployment.service.graph.tasks == deployment.alive
    assert len(deployment.alive) == 6


def _end_doubts(deployment: RegistrationDeployment) -> None:
    """Delete all claims and doubts, in place of a wait of 15 minutes."""
    client = deployment.table.client
    for row in deployment.table.rows():
        if row["project"]["S"].startswith("registration#"):
            key = {name: row[name] for name in ("project", "id")}
            client.delete_item(TableName=TABLE, Key=key)


def test_index_is_read_to_its_end(server: DynamoDb) -> None:
    """Every page of the index is read."""
    server.reset()
    pages: list[dict[str, Any]] = []

    class Paged:
        """A client with one row on a page."""

        def query(self, **query: Any) -> Any:
            pages.append(query)
            return server.client.query(**query, Limit=1)

    for number in range(3):
        run = f"01M6DMBE00000000000000{number:03}0"
        keys = {"project": {"S": "apollo"}, "id": {"S": run}}
        entry = outbox_entry(run, since=f"2026-11-22T00:00:0{number}Z")
        server.client.put_item(TableName=TABLE, Item={**keys, **entry})
    client: Any = Paged()
    found = list(PendingRegistrations(client, TABLE, shape=typed).list_shard("0", now="2026-11-23"))
    assert [row.since[-2] for row in found] == ["0", "1", "2"]
    assert len(pages) >= 3
