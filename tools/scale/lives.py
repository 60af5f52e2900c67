"""The life of one run, written by the stores themselves into tables in memory, step by step."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import boto3
from moto import mock_aws
from ulid import ULID

from byline.identity.caller import Caller
from byline.registration.outbox import PENDING_INDEX, Outbox
from byline.registration.principals import typed
from byline.tables.rows import rfc3339
from local.aws import ROOT
from local.template import Template
from register_resources.claims import RunClaims
from register_resources.pending import PendingRegistrations, RunKey
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.messages.requests import PostMessage
from serve_runs.messages.store import MessageStore
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import RunStore
from tools.scale.capacity import Index, Rows, size, storage, written

RUNS, ACCESS = "RunsTable", "AccessTable"
PROJECT = "checkout-service"
CREATOR = Caller(
    kind="user",
    source="bearer",
    issuer="https://login.example.com/realms/engineering",
    subject="3f1c7a90-5d2e-4b68-9c1f-8e7a6b5d4c3b",
    token_subject="3f1c7a90-5d2e-4b68-9c1f-8e7a6b5d4c3b",
    name="ada.lovelace",
    given_name="Ada",
    family_name="Lovelace",
    email="ada.lovelace@example.com",
)
BODY = CreateRun(
    name="Nightly evaluation of the ranking model",
    agent="ranking-evaluator",
    runner="gpu-pool-3",
    labels={"team": "search", "branch": "main", "commit": "9fceb02d0ae598e95dc970b74767f19372d6"},
)
LIFE = ("create", "start", "finish")
"""The steps of a run that ends well."""

MESSAGE = "Step 3 of 12 is done: 4,812 of 19,200 examples, 0.931 precision."


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a run's life. `units`: write units, by table or index and partition."""

    name: str
    units: Mapping[tuple[str, str], int]

    def of(self, index: str, partition: str | None = None) -> int:
        """The units in a table or index, in one of its partitions or in all."""
        return sum(
            units
            for (name, at), units in self.units.items()
            if name == index and partition in (None, at)
        )

    @property
    def total(self) -> int:
        """All units of the step."""
        return sum(self.units.values())


@dataclass(frozen=True, slots=True)
class Life:
    """The steps of a run that ends well, and what is left of it."""

    steps: Mapping[str, Step]
    row_bytes: int
    stored_bytes: Mapping[str, int]
    """The bytes that are paid for, by table and index, of the run and its audit records."""
    registration_calls: int
    """The calls of DynamoDB that registering a run makes, one after the other."""

    @property
    def units_without_registration(self) -> int:
        """All units of a run that is created, started and finished."""
        units = sum(self.steps[name].total for name in LIFE)
        return units - self.units(*LIFE, index=PENDING_INDEX)

    @property
    def stored_bytes_without_registration(self) -> int:
        """The bytes that are paid for after the end of the run."""
        return sum(self.stored_bytes.values()) - self.stored_bytes[PENDING_INDEX]

    def units(self, *names: str, index: str, partition: str | None = None) -> int:
        """The units of some steps in a table or index."""
        return sum(self.steps[name].of(index, partition) for name in names)


@cache
def measure() -> Life:
    """A run's life, with registration on and every retention for ever."""
    with _tables() as client:
        return _Measurement(client).life()


class _Measurement:
    def __init__(self, client: Any) -> None:
        self._client = client
        self._calls: Counter[str] = Counter()
        client.meta.events.register("before-call.dynamodb", self._count)
        self._indexes = {table: _indexes(table) for table in (RUNS, ACCESS)}
        self._steps: dict[str, Step] = {}

    def life(self) -> Life:
        now = time.time
        audit = AuditTrail(self._client, ACCESS, now=now)
        store = RunStore(self._client, RUNS, audit=audit, now=now, new_id=ULID, outbox=Outbox())
        messages = MessageStore(self._client, RUNS, audit=audit, now=now, retention_days=0)
        run = ""

        def create() -> None:
            nonlocal run
            item, _ = store.create(BODY, project=PROJECT, action=_action())
            run = item["id"]["S"]

        def change(name: str) -> Callable[[], object]:
            return lambda: store.change(
                PROJECT, run, transition=TRANSITIONS[name], action=_action()
            )

        def post() -> None:
            message = PostMessage("runner", MESSAGE)
            messages.post(PROJECT, run, message=message, action=_action(), key=None)

        self._step("create", create)
        self._calls.clear()
        self._register(RunKey(PROJECT, run), at=now())
        calls = self._calls.total()
        self._step("start", change("start"))
        self._step("post the first message", post)
        self._step("post a message", post)
        self._step("finish", change("finish"))
        ended = self._rows(RUNS)[PROJECT, run]
        stored = {
            index.name: sum(
                storage(index.projection(each))
                for key, each in self._rows(table).items()
                if index.key_of(each) is not None and not key[0].startswith("messages#")
            )
            for table in (RUNS, ACCESS)
            for index in self._indexes[table]
        }
        self._step("delete", lambda: store.delete(PROJECT, run, action=_action()))
        return Life(self._steps, size(ended), stored, calls)

    def _register(self, key: RunKey, *, at: float) -> None:
        claims = RunClaims(self._client, RUNS, owner="worker")
        pending = PendingRegistrations(self._client, RUNS, shape=typed)
        taken = []
        self._step("claim", lambda: taken.append(claims.take(key, now=at, until=at + 60)), once=1)
        row, claim = pending.read(key), taken[0]
        if row is None or claim is None:
            raise RuntimeError("a new run has no outbox entry, or its claim is taken")
        self._step("clear", lambda: pending.clear(row, at=rfc3339(at)), once=1)
        self._step("give back", lambda: claims.give_back(claim, now=at), once=1)

    def _count(self, **_: Any) -> None:
        self._calls["calls"] += 1

    def _rows(self, table: str) -> Rows:
        calls = self._calls.copy()
        items = self._client.scan(TableName=table, ConsistentRead=True)["Items"]
        self._calls = calls
        [keys, *_] = self._indexes[table]
        return {(row[keys.partition]["S"], row[keys.sort]["S"]): row for row in items}

    def _step(self, name: str, act: Callable[[], object], *, once: int = 2) -> None:
        """Carry out a step. `once`: 1 for a single write, 2 for a transaction."""
        before = {table: self._rows(table) for table in (RUNS, ACCESS)}
        act()
        units: Counter[tuple[str, str]] = Counter()
        for table, indexes in self._indexes.items():
            for index in indexes:
                factor = once if index.name == table else 1
                after = self._rows(table)
                found = written(before[table], after, index, factor=factor)
                units.update({(index.name, at): number for at, number in found.items()})
        self._steps[name] = Step(name, units)


def _action() -> ActionContext:
    return ActionContext(CREATOR, str(uuid4()))


def _indexes(table: str) -> tuple[Index, ...]:
    """The table's own keys, then those of its indexes, from the template."""
    body = _definition(table)
    found = [Index(table, *_keys(body))]
    for index in body["GlobalSecondaryIndexes"]:
        projection = index["Projection"]
        projected = None
        if projection["ProjectionType"] != "ALL":
            more = projection.get("NonKeyAttributes", ())
            projected = frozenset((*_keys(body), *_keys(index), *more))
        found.append(Index(index["IndexName"], *_keys(index), projected))
    return tuple(found)


def _keys(body: Any) -> tuple[str, str]:
    partition, sort = (key["AttributeName"] for key in body["KeySchema"])
    return partition, sort


def _definition(table: str) -> Any:
    template = Template.read(ROOT / "template.yaml")
    body = template.resources("AWS::DynamoDB::Table")[table]["Properties"]
    names = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    return {"TableName": table, **{name: body[name] for name in names}}


@contextmanager
def _tables() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client(
            "dynamodb",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        for table in (RUNS, ACCESS):
            client.create_table(**_definition(table))
        yield client
