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

from msgspec.structs import replace

from byline.fetch import Answer, TimedOut
from byline.identity.caller import Caller, principal_of, read_principal
from byline.registration.authorization_service import AuthorizationService
from byline.registration.outbox import PENDING_INDEX, Outbox
from byline.registration.principals import shape_of
from byline.registration.settings import RegistrationSettings
from byline.tables.rows import Item, rfc3339
from register_resources.claims import RunClaims
from register_resources.pending import IndexEntry, PendingRegistrations, RunKey
from register_resources.registrar import Registrar, Result
from serve_runs.audit.trail import (
    ActionContext,
    AuditedResource,
    AuditTrail,
    RepresentedPerson,
)
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.store import RunStore
from serve_runs.service_accounts.grants import Grants
from serve_runs.service_accounts.requests import id_of
from serve_runs.service_accounts.store import ServiceAccountStore
from serve_runs.service_accounts.views import ServiceAccountRegistration
from stand_ins.authorization_service import Fault, Graph, ServiceCall
from stand_ins.clock import Clock
from stand_ins.engine import dynamodb_of_new_account
from tests.runs.table_server import ACCESS_TABLE, TABLE, table_definition

WORK_SECONDS = 110
"""The seconds in which a worker may begin calls."""
LIFE_SECONDS = 125
"""The seconds after which Lambda has killed a worker."""

ADA = Caller("user", "bearer", "https://issuer.example", "ada", "ada", "ada")
LIN = Caller("user", "bearer", "https://issuer.example", "lin", "lin", "lin")
ROBOT = Caller("application", "bearer", "https://issuer.example", "robot", "robot", "robot")

SETTINGS = RegistrationSettings.from_environment(
    {"AUTHORIZATION_SERVICE_URL": "https://authorization.example"}
)

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
    settings: RegistrationSettings = SETTINGS
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
            outbox=Outbox(self.settings.projects) if registers == "on" else None,
        )

    def create(
        self,
        *,
        step: Step = nothing,
        by: Caller | None = ADA,
        person: Caller | None = None,
        inherited: str = "",
        project: str = "apollo",
        **body: Any,
    ) -> RunKey:
        """Create a run, on behalf of `person` if there is one. `inherited`: how it came from the
        parent run, if it did."""
        store, action = self.store(step=step), self.action(by)
        if person is not None:
            principal = principal_of(person).text
            action = replace(
                action, on_behalf_of=RepresentedPerson(principal, "{}", bool(inherited))
            )
        run, _ = store.create(CreateRun(**body), project=project, action=action)
        return RunKey(project, run["id"]["S"])

    def accounts(self, *, step: Step = nothing) -> tuple[ServiceAccountStore, Grants]:
        """The store of service accounts, and their grants."""
        client: Any = SteppingClient(self.client, step)
        grants = Grants(
            client,
            TABLE,
            service=self.service(step=step),
            settings=self.settings,
            now=self.clock,
        )
        return ServiceAccountStore(client, ACCESS_TABLE, now=self.clock), grants

    def register_account(
        self,
        *,
        step: Step = nothing,
        person: Caller = ADA,
        project: str = "apollo",
        end: int | None = None,
    ) -> Item:
        """Let the service account `ROBOT` act for a person, as a request does."""
        store, grants = self.accounts(step=step)
        action = self.action(person)
        wanted = ServiceAccountRegistration(
            project=project,
            application=principal_of(ROBOT),
            person=principal_of(person),
            identity="{}",
            role="project:editor",
            name="robot",
            request_id=action.request_id,
            end=end,
        )

        def record(account: str) -> Any:
            return self._record(action, "create_service_account", project, account)

        row, _ = store.register(wanted, grants=grants, record=record)
        return row

    def delete_account(self, *, step: Step = nothing, project: str = "apollo") -> None:
        """Delete the service account `ROBOT`, as a request does."""
        store, grants = self.accounts(step=step)
        action = self.action(ADA)
        row = store.find(project, id_of(principal_of(ROBOT), project))
        assert row is not None
        person = read_principal(row["person"]["S"])
        revocation = grants.revocation(row, person, request_id=action.request_id)
        record = self._record(action, "delete_service_account", project, row["id"]["S"])
        assert store.delete(row, record=record, revocation=revocation)

    def _record(self, action: ActionContext, name: Any, project: str, account: str) -> Any:
        resource = AuditedResource(project, "service_account", account)
        return AuditTrail(self.client, ACCESS_TABLE, now=self.clock).record(action, name, resource)

    @property
    def accounts_persons(self) -> set[str]:
        """The persons for whom a service account acts, by its row."""
        rows = self.client.scan(TableName=ACCESS_TABLE, ConsistentRead=True)["Items"]
        return {
            read_principal(row["person"]["S"]).subject
            for row in rows
            if row["entry"]["S"].startswith("acts-for")
        }

    @property
    def granted_persons(self) -> set[str]:
        """The persons to whom the service has granted the use of a service account."""
        return {
            json.loads(principal)["id"]
            for principal, (kind, _), _ in self.graph.grants
            if kind == "api_key"
        }

    def all_keys(self) -> list[RunKey]:
        """The keys of all rows with an outbox entry, also of those that are not due yet."""
        items = self.client.scan(TableName=TABLE, IndexName=PENDING_INDEX)["Items"]
        return [RunKey.of(item) for item in items]

    def settings_with(self, **variables: str) -> RegistrationSettings:
        """The settings with other variables."""
        url = "https://authorization.example"
        return RegistrationSettings.from_environment(
            {"AUTHORIZATION_SERVICE_URL": url, **variables}
        )

    def make_pass(self) -> list[Result]:
        """Settle everything that is pending."""
        return [self.settle(entry.key) for entry in self.pending()]

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

    def settle_with(self, client: Any, key: RunKey) -> Result:
        """Let a new worker with this client settle a run."""
        now = self.clock()
        return self.worker(client=client).settle(
            key, until=now + WORK_SECONDS, claim_until=now + LIFE_SECONDS
        )

    def worker(self, *, step: Step = nothing, client: Any = None) -> Registrar:
        """A new worker."""
        client = client or SteppingClient(self.client, step)

        def sleep(_: float) -> None:
            step("sleep")

        return Registrar(
            PendingRegistrations(client, TABLE, shape=shape_of(self.settings), sleep=sleep),
            RunClaims(client, TABLE, owner=str(uuid4()), sleep=sleep),
            self.service(step=step),
            failed=lambda key, *what: self.failures.append((key.run, *what)),
            now=self.clock,
        )

    def service(self, *, step: Step = nothing) -> AuthorizationService:
        """A new client of the service."""

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

        return AuthorizationService(
            "https://authorization.example",
            post=post,
            now=self.clock,
            sleep=sleep,
            random=lambda: 0.5,
            count=lambda *_: None,
        )

    def pending(self) -> list[IndexEntry]:
        """All entries of the index."""
        now = rfc3339(self.clock())
        items = self.client.scan(TableName=TABLE, IndexName=PENDING_INDEX)["Items"]
        rows = PendingRegistrations(self.client, TABLE, shape=shape_of(self.settings))
        shards = sorted({item["unregistered"]["S"] for item in items})
        return [entry for shard in shards for entry in rows.list_shard(shard, now=now)]

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
