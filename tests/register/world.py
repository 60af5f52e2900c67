"""Runs, their table, workers and an authorization service, on a clock that a test sets.

Every call is a step, and so is its answer. A test can act between any two of them.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

from byline.fetch import Answer, TimedOut
from byline.identity.caller import Caller
from byline.registration.authorization_service import AuthorizationService
from byline.registration.outbox import PENDING_INDEX, outbox_entry
from register_resources.claims import RunClaims
from register_resources.pending import IndexEntry, PendingRegistrations, RunKey
from register_resources.registrar import Registrar, Result
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.store import RunStore
from stand_ins.authorization_service import Fault, Graph, ServiceCall
from stand_ins.clock import Clock
from stand_ins.engine import dynamodb_of_new_account
from tests.runs.table_server import ACCESS_TABLE, TABLE, table_definition

WORK_SECONDS = 110
"""The seconds in which a worker may begin calls."""
LIFE_SECONDS = 125
"""The seconds after which Lambda has killed a worker."""

ADA = Caller("user", "bearer", "https://issuer.example", "ada", "ada", "ada")

type Step = Callable[[str], object]


def nothing(_: str) -> None:
    """A step at which nothing happens."""


class SteppingClient:
    """A client whose calls, and their answers, are steps."""

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
class RegistrationWorld:
    """The table, the service's graph, and the time."""

    client: Any
    graph: Graph = field(default_factory=Graph)
    clock: Clock = field(default_factory=Clock)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    faults: list[Fault | None] = field(default_factory=list)
    """The faults of the next calls of the service, one each."""
    _runs: Iterator[int] = field(default_factory=lambda: count(1))
    _requests: Iterator[int] = field(default_factory=lambda: count(1))

    def store(self, *, step: Step = nothing, registers: str = "on") -> RunStore:
        """The store of RunsFunction, with registration on or off."""
        client: Any = SteppingClient(self.client, step)
        return RunStore(
            client,
            TABLE,
            audit=AuditTrail(client, ACCESS_TABLE, now=self.clock),
            now=self.clock,
            new_id=lambda: f"01M6DMBE00{next(self._runs):016}",
            outbox=outbox_entry if registers == "on" else None,
        )

    def create(self, *, step: Step = nothing, by: Caller | None = ADA, **body: Any) -> RunKey:
        """Create a run."""
        store, action = self.store(step=step), self.action(by)
        run, _ = store.create(CreateRun(**body), project="apollo", action=action)
        return RunKey("apollo", run["id"]["S"])

    def delete(self, key: RunKey, *, step: Step = nothing) -> None:
        """Delete a run."""
        self.store(step=step).delete(key.project, key.run, action=self.action(ADA))

    def action(self, caller: Caller | None) -> ActionContext:
        """The context of a new request."""
        return ActionContext(caller, f"request-{next(self._requests)}")

    def settle(self, key: RunKey, *, step: Step = nothing) -> Result:
        """Let a new worker settle a run. Returns its result."""
        now = self.clock()
        return self.worker(step=step).settle(
            key, until=now + WORK_SECONDS, claim_until=now + LIFE_SECONDS
        )

    def worker(self, *, step: Step = nothing) -> Registrar:
        """A new worker."""
        client: Any = SteppingClient(self.client, step)

        def post(url: str, *, document: bytes) -> Answer:
            call = ServiceCall(url.rpartition("/")[2], json.loads(document))
            fault = self.faults.pop(0) if self.faults else None
            try:
                step("post")
            except BaseException:
                # The worker died after it sent the call, which may still take effect.
                self.graph.late.append(call)
                raise
            answer = self.graph.answer(call, fault)
            step("post answered")
            if answer is None:
                raise TimedOut("not done in time")
            return answer

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
            PendingRegistrations(client, TABLE, sleep=sleep),
            RunClaims(client, TABLE, owner=str(uuid4()), sleep=sleep),
            service,
            failed=lambda key, *what: self.failures.append((key.run, *what)),
            now=self.clock,
        )

    def pending(self) -> list[IndexEntry]:
        """All entries of the index."""
        items = self.client.scan(TableName=TABLE, IndexName=PENDING_INDEX)["Items"]
        rows = PendingRegistrations(self.client, TABLE)
        shards = sorted({item["unregistered"]["S"] for item in items})
        return [entry for shard in shards for entry in rows.list_shard(shard)]

    def rows(self, prefix: str = "") -> dict[str, dict[str, Any]]:
        """The rows of the project, by id. `prefix` selects tombstones or claims instead."""
        rows = self.client.scan(TableName=TABLE, ConsistentRead=True)["Items"]
        return {row["id"]["S"]: row for row in rows if row["project"]["S"] == f"{prefix}apollo"}

    def row(self, key: RunKey) -> dict[str, Any]:
        """The run's row, or its tombstone."""
        return (self.rows() | self.rows("deleted#"))[key.run]

    def claim(self, key: RunKey) -> dict[str, Any] | None:
        """The row of the run's claim."""
        return self.rows("registration#").get(key.run)


@contextmanager
def new_world() -> Iterator[RegistrationWorld]:
    """A world with the template's tables, empty."""
    with dynamodb_of_new_account() as client:
        for table in (TABLE, ACCESS_TABLE):
            client.create_table(**table_definition(table))
        yield RegistrationWorld(client)
