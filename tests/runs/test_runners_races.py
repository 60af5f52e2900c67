"""Registrations, deletions and workers at once: whichever way they meet, one story comes of it.

Each request is stopped before each of its calls of AWS, and another one, or a worker, does all that
it has to do in between.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from itertools import count
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from byline.refresh.runner_rows import RunnerRow, read_runner
from byline.refresh.work_units import token_secret_name
from byline.tables.rows import Contended
from refresh_tokens.sweeper import SWEEP_AGAIN_SECONDS
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.errors import RequestFailed
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.store import RunnerStore
from stand_ins.faults import Afterwards
from tests.refresh.world import TABLE, Worker, World, new_world
from tests.runs.runs_api import reason_of
from tests.runs.table_server import ACCESS_TABLE

SLICES = 6

_projects = count(1)


def _store(client: Any, *, skew: float = 0) -> RunnerStore:
    def now() -> float:
        return time.time() + skew

    audit = AuditTrail(client, ACCESS_TABLE, now=now)
    return RunnerStore(client, TABLE, audit=audit, now=now)


class Stage:
    """A project, and requests about its runner `nightly` by stores of their own."""

    def __init__(self, world: World, client: Any) -> None:
        self.world = world
        self.client = client
        self.generations: list[int] = []
        """Of all that was registered."""
        self.project = f"stage-{next(_projects)}"
        world.give_client(project=self.project)

    @cached_property
    def _worker(self) -> Worker:
        return self.world.worker()

    def store(self, *, skew: float = 0) -> RunnerStore:
        """A store. `skew`: how far its clock is ahead, in seconds."""
        return _store(self.client, skew=skew)

    def store_interrupted(self, by: Callable[["Stage"], None], *, at: int) -> RunnerStore:
        """A store during whose call number `at`, counted from 0, something is done before it."""
        calls = count()
        client = self.world.aws.client("dynamodb")
        client.meta.events.register(
            "before-send", lambda **_: by(self) if next(calls) == at else None
        )
        return _store(client)

    def register(self, store: RunnerStore, audience: str = "models") -> RunnerRow:
        request = RunnerRegistration(
            project=self.project,
            runner="nightly",
            body=RegisterRunner(client="scheduler", audience=audience),
            action=ActionContext(None, str(uuid4())),
        )
        row = store.register(request, permit=lambda *_: None)[0]
        self.generations.append(row.generation)
        return row

    def delete(self, store: RunnerStore) -> None:
        if self.live():
            store.delete(self.project, "nightly", action=ActionContext(None, str(uuid4())))

    def work(self) -> None:
        """A worker does all that is due of the project."""
        self.world.catch_up()
        for unit in {row.work_unit for row in (*self.live(), *self.tombstones())}:
            self._worker.refresh(unit)

    def live(self) -> list[RunnerRow]:
        return self._rows(self.project)

    def tombstones(self) -> list[RunnerRow]:
        return self._rows(f"deleted#{self.project}")

    def _rows(self, partition: str) -> list[RunnerRow]:
        page = self.client.query(
            TableName=TABLE,
            ConsistentRead=True,
            KeyConditionExpression="#project = :project",
            ExpressionAttributeNames={"#project": "project"},
            ExpressionAttributeValues={":project": {"S": partition}},
        )
        return [read_runner(item) for item in page["Items"]]

    def secrets(self) -> list[str]:
        start = token_secret_name(self.project, "nightly", 0)[:-1]
        return [name for name in self.world.aws.secrets.names() if name.startswith(start)]

    def settle(self) -> None:
        """Time goes on, with a worker at every turn, until all that was to come has come."""
        for _ in range(SLICES):
            self.work()
            self.world.clock.advance(SWEEP_AGAIN_SECONDS)
            busy = [row for row in self.tombstones() if row.shard is not None]
            if not busy and not [row for row in self.live() if row.slot is None]:
                return

    def holds(self) -> None:
        """What must hold of every story."""
        live, deleted = self.live(), self.tombstones()
        assert len(live) <= 1
        generations = [row.generation for row in (*live, *deleted)]
        assert len(set(generations)) == len(generations)
        assert all(row.generation > old.generation for row in live for old in deleted)
        # What was overtaken without a trace would still be in its secret.
        assert max(generations) >= max(self.generations)

    def holds_in_the_end(self) -> None:
        """Besides: a live runner has its token and keeps it, of a deleted one nothing is left."""
        self.settle()
        self.holds()
        assert all(row.shard is None for row in self.tombstones())
        for row in self.live():
            assert row.last_error is None
            assert self.world.token(row)["generation"] == row.generation
        if not self.live():
            assert self.secrets() == []


@pytest.fixture(scope="module")
def own_world() -> Iterator[World]:
    """One whose time goes on for days."""
    with new_world() as world:
        yield world


@pytest.fixture(scope="module")
def client(own_world: World) -> Any:
    return own_world.aws.client("dynamodb", max_pool_connections=8)


@pytest.fixture
def stage(own_world: World, client: Any) -> Stage:
    own_world.aws.faults.clear()
    return Stage(own_world, client)


def nothing(_: Stage) -> None:
    """The name was never there."""


def registered(stage: Stage) -> None:
    stage.register(stage.store())


def gone(stage: Stage) -> None:
    registered(stage)
    stage.delete(stage.store())


def change(stage: Stage) -> None:
    stage.register(stage.store(), "other")


def deletion(stage: Stage) -> None:
    stage.delete(stage.store())


def deletion_and_registration(stage: Stage) -> None:
    deletion(stage)
    registered(stage)


def registration_and_deletion(stage: Stage) -> None:
    registered(stage)
    deletion(stage)


def registration_by_a_clock_ahead_and_deletion(stage: Stage) -> None:
    stage.register(stage.store(skew=30))
    deletion(stage)


def worker(stage: Stage) -> None:
    stage.work()


BEFORE = (nothing, registered, gone)
DELETING = (registration_and_deletion, registration_by_a_clock_ahead_and_deletion)
MEANWHILE = (
    change,
    deletion,
    deletion_and_registration,
    *DELETING,
)


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("before", BEFORE)
def test_registration_that_is_overtaken_has_the_last_word(
    stage: Stage,
    before: Callable[[Stage], None],
    meanwhile: Callable[[Stage], None],
    call: int,
) -> None:
    """It is what is registered then, above every generation that was."""
    before(stage)
    store = stage.store_interrupted(meanwhile, at=call)
    stage.register(store)
    [row] = stage.live()
    assert row.audience == "models"
    stage.holds()


@pytest.mark.parametrize("meanwhile", [*MEANWHILE, worker])
def test_deletion_that_is_overtaken_leaves_no_runner(
    stage: Stage, meanwhile: Callable[[Stage], None]
) -> None:
    """Whatever the runner has become meanwhile is deleted."""
    registered(stage)
    store = stage.store_interrupted(meanwhile, at=1)
    with suppress(RequestFailed):  # 404: somebody else was first
        stage.delete(store)
    assert stage.live() == []
    stage.holds()


@pytest.mark.parametrize("call", [1, 2])
def test_change_that_a_worker_overtakes_counts(stage: Stage, call: int) -> None:
    """The worker's token is of the old registration: the changed one starts without, and gets its
    own."""
    registered(stage)
    store = stage.store_interrupted(worker, at=call)
    row = stage.register(store, "other")
    assert stage.live() == [row]
    assert row.slot is None
    stage.holds_in_the_end()


def test_worker_that_a_change_overtakes_counts_for_nothing(stage: Stage) -> None:
    """It has put its token already, under the next generation: the changed runner's is another."""
    registered(stage)
    [before] = stage.live()
    stage.world.aws.faults.follow("CreateSecret", Afterwards(lambda: change(stage)))
    stage.work()
    stage.work()
    [row] = stage.live()
    assert (row.audience, row.generation > before.generation + 1) == ("other", True)
    assert stage.world.token(row)["generation"] == row.generation
    stage.holds_in_the_end()


def test_worker_that_a_deletion_overtakes_leaves_no_secret(stage: Stage) -> None:
    """A worker that was overtaken by a deletion leaves no secret behind."""
    registered(stage)
    stage.world.aws.faults.follow("CreateSecret", Afterwards(lambda: deletion(stage)))
    stage.work()
    stage.holds_in_the_end()
    assert stage.secrets() == []


def test_sweep_of_a_namesake_takes_nothing_from_a_runner_whose_clock_is_behind(
    stage: Stage,
) -> None:
    """Registered at once by two, by a clock ahead and by ours, and deleted in between."""
    store = stage.store_interrupted(registration_by_a_clock_ahead_and_deletion, at=3)
    stage.register(store)
    stage.work()
    [row] = stage.live()
    assert stage.world.token(row)["generation"] == row.generation
    stage.holds_in_the_end()


def test_many_requests_at_once_leave_one_story(stage: Stage) -> None:
    """Eight threads, whose clocks differ, register, change and delete one runner."""
    barrier = Barrier(8)

    def act(number: int) -> set[str]:
        store = stage.store(skew=number - 4)
        barrier.wait()
        failures = set()
        for turn in range(3):
            try:
                if (number + turn) % 3:
                    stage.register(store, f"audience-{number % 2}")
                else:
                    stage.delete(store)
            except (RequestFailed, Contended) as failure:  # others were faster, each time
                failures.add(reason_of(failure))
        return failures

    with ThreadPoolExecutor(8) as threads:
        failures = set().union(*threads.map(act, range(8)))
    assert failures <= {"not_found", "store_unavailable"}
    stage.holds()
    stage.holds_in_the_end()
