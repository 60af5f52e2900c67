"""Runs, the table that they stand in, workers and an authorization service, on a clock of a test.

Everything goes through `Steps`: a test may stand between any two of the workers' calls.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import boto3
from moto import mock_aws
from serve_runs.access.context import Act
from serve_runs.audit.records import AuditTrail

from byline.fetch import Answer, TimedOut
from byline.identity.caller import Caller
from byline.registration.authorization_service import AuthorizationService
from byline.registration.outbox import UNREGISTERED_INDEX, no_mark, unregistered_mark
from register_resources.claims import Claims
from register_resources.pending_rows import RunKey, UnregisteredRows, Waiting
from register_resources.registrar import Registrar, Result
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.store import RunStore
from stand_ins.authorization_service import Fault, Graph, Told
from stand_ins.clock import Clock
from tests.runs.table_server import ACCESS_TABLE, TABLE, table_definition

WORK_SECONDS = 110
"""How long a worker may begin calls, and after how long Lambda has killed it."""
LIFE_SECONDS = 125

ADA = Caller("user", "bearer", "https://issuer.example", "ada", "ada", "ada")

type Step = Callable[[str], object]


def nothing(_: str) -> None:
    """Nobody steps in between."""


class Stepping:
    """A client whose every call is a step, and so is its answer."""

    def __init__(self, client: Any, step: Step) -> None:
        self._client = client
        self._step = step

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)
        if not callable(member):
            return member

        def call(**what: Any) -> Any:
            self._step(name)
            answer = member(**what)
            self._step(f"{name} answered")
            return answer

        return call


@dataclass
class World:
    """The table, the service's graph, and time."""

    client: Any
    graph: Graph = field(default_factory=Graph)
    clock: Clock = field(default_factory=Clock)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    faults: list[Fault | None] = field(default_factory=list)
    """What befalls the next calls of the service."""
    _runs: Iterator[int] = field(default_factory=lambda: count(1))
    _requests: Iterator[int] = field(default_factory=lambda: count(1))

    def store(self, *, step: Step = nothing, registers: str = "on") -> RunStore:
        """RunsFunction's."""
        client: Any = Stepping(self.client, step)
        return RunStore(
            client,
            TABLE,
            audit=AuditTrail(client, ACCESS_TABLE, now=self.clock),
            now=self.clock,
            new_id=lambda: f"01M6DMBE00{next(self._runs):016}",
            mark=unregistered_mark if registers == "on" else no_mark,
        )

    def create(self, *, step: Step = nothing, by: Caller | None = ADA, **body: Any) -> RunKey:
        """A run, created."""
        run = self.store(step=step).create(CreateRun(**body), project="apollo", act=self.act(by))
        return RunKey("apollo", run["id"]["S"])

    def delete(self, key: RunKey, *, step: Step = nothing) -> None:
        """The run, deleted."""
        self.store(step=step).delete(key.project, key.run, act=self.act(ADA))

    def act(self, caller: Caller | None) -> Act:
        """A request of its own."""
        return Act(caller, f"request-{next(self._requests)}")

    def settle(self, key: RunKey, *, step: Step = nothing) -> Result:
        """What a worker makes of a run."""
        now = self.clock()
        return self.worker(step=step).settle(
            key, until=now + WORK_SECONDS, claim_until=now + LIFE_SECONDS
        )

    def worker(self, *, step: Step = nothing) -> Registrar:
        """A worker of its own."""
        client: Any = Stepping(self.client, step)

        def post(url: str, *, document: bytes) -> Answer:
            call = Told(url.rpartition("/")[2], json.loads(document))
            fault = self.faults.pop(0) if self.faults else None
            try:
                step("post")
            except BaseException:
                # Dead after it was sent: who does not wait for the end does not prevent it.
                self.graph.late.append(call)
                raise
            answer = self.graph.meet(call, fault)
            step("post answered")
            if answer is None:
                raise TimedOut("not done in time")
            return Answer(*answer)

        def sleep(_: float) -> None:
            step("sleep")

        service = AuthorizationService(
            "https://authorization.example",
            post=post,
            now=self.clock,
            sleep=sleep,
            random=lambda: 0.5,
            count=lambda *_: None,
        )
        return Registrar(
            UnregisteredRows(client, TABLE),
            Claims(client, TABLE, owner=str(uuid4()), sleep=sleep),
            service,
            failed=lambda key, *what: self.failures.append((key.run, *what)),
            now=self.clock,
        )

    def waiting(self) -> list[Waiting]:
        """All that the index has: of the shards in which there is anything."""
        there = self.client.scan(TableName=TABLE, IndexName=UNREGISTERED_INDEX)["Items"]
        rows = UnregisteredRows(self.client, TABLE)
        shards = sorted({row["unregistered"]["S"] for row in there})
        return [row for shard in shards for row in rows.waiting(shard)]

    def rows(self, prefix: str = "") -> dict[str, dict[str, Any]]:
        """The rows of the project, by id; with a prefix, those beside it."""
        rows = self.client.scan(TableName=TABLE, ConsistentRead=True)["Items"]
        return {row["id"]["S"]: row for row in rows if row["project"]["S"] == f"{prefix}apollo"}

    def row(self, key: RunKey) -> dict[str, Any]:
        """The run's row, or its tombstone."""
        return (self.rows() | self.rows("deleted#"))[key.run]

    def claim(self, key: RunKey) -> dict[str, Any] | None:
        """The row beside it."""
        return self.rows("registration#").get(key.run)


@contextmanager
def new_world() -> Iterator[World]:
    """Empty tables, as the template has them."""
    with mock_aws():
        client = boto3.client(
            "dynamodb",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        for table in (TABLE, ACCESS_TABLE):
            client.create_table(**table_definition(table))
        yield World(client)
