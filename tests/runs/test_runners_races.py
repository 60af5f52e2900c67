"""Concurrent registrations, deletions and workers of one runner end in one consistent state.

Each request is stopped before each of its AWS calls, and another request or a worker runs
completely.
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
from byline.tables.rows import Contended
from refresh_tokens.sweeper import SWEEP_AGAIN_SECONDS
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.errors import RequestFailed
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.store import RunnerStore
from stand_ins.faults import Afterwards
from tests.refresh.world import SECRETS, TABLE, Worker, World, new_world
from tests.runs.runs_api import reason_of
from tests.runs.table_server import ACCESS_TABLE

ROUNDS = 6

_projects = count(1)


def _store(client: Any, *, skew: float = 0) -> RunnerStore:
    """A store whose clock is `skew` seconds ahead."""

    def now() -> float:
        return time.time() + skew

    audit = AuditTrail(client, ACCESS_TABLE, now=now)
    return RunnerStore(client, TABLE, audit=audit, now=now)


class Stage:
    """A project, and requests for its runner `nightly` by separate stores."""

    def __init__(self, world: World, client: Any) -> None:
        self.world = world
        self.client = client
        self.generations: list[int] = []
        """The generations of all registrations."""
        self.project = f"stage-{next(_projects)}"
        world.give_client(project=self.project)

    @cached_property
    def _worker(self) -> Worker:
        """The worker of the project."""
        return self.world.worker()

    def store(self, *, skew: float = 0) -> RunnerStore:
        """A store whose clock is `skew` seconds ahead."""
        return _store(self.client, skew=skew)

    def store_interrupted(self, by: Callable[["Stage"], None], *, at: int) -> RunnerStore:
        """A store that runs `by` before its AWS call with the number `at`, from 0."""
        calls = count()
        client = self.world.aws.client("dynamodb")
        client.meta.events.register(
            "before-send", lambda **_: by(self) if next(calls) == at else None
        )
        return _store(client)

    def register(self, store: RunnerStore, audience: str = "models") -> RunnerRow:
        """Register the runner."""
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
        """Delete the runner where it exists."""
        if self.live():
            store.delete(self.project, "nightly", action=ActionContext(None, str(uuid4())))

    def work(self) -> None:
        """Let a worker do all due work of the project."""
        self.world.catch_up()
        for unit in {row.work_unit for row in (*self.live(), *self.tombstones())}:
            self._worker.refresh(unit)

    def live(self) -> list[RunnerRow]:
        """The rows of runners that are not deleted."""
        return self._rows(self.project)

    def tombstones(self) -> list[RunnerRow]:
        """The rows of deleted runners."""
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
        """The names of the runner's secrets."""
        start = SECRETS.token(self.project, "nightly", 0)[:-1]
        return [name for name in self.world.aws.secrets.names() if name.startswith(start)]

    def settle(self) -> None:
        """Advance the clock, with a worker in each round, until no work is left."""
        for _ in range(ROUNDS):
            self.work()
            self.world.clock.advance(SWEEP_AGAIN_SECONDS)
            unswept = [row for row in self.tombstones() if row.shard is not None]
            if not unswept and not [row for row in self.live() if row.slot is None]:
                return

    def assert_consistent(self) -> None:
        """Fail unless the rows are consistent after any sequence of requests."""
        live, deleted = self.live(), self.tombstones()
        assert len(live) <= 1
        generations = [row.generation for row in (*live, *deleted)]
        assert len(set(generations)) == len(generations)
        assert all(row.generation > old.generation for row in live for old in deleted)
        # A registration whose generation is in no row would leave its secret behind.
        assert max(generations) >= max(self.generations)

    def assert_settled(self) -> None:
        """Fail unless a live runner has its token, and a deleted one no secret."""
        self.settle()
        self.assert_consistent()
        assert all(row.shard is None for row in self.tombstones())
        for row in self.live():
            assert row.last_error is None
            assert self.world.token(row)["generation"] == row.generation
        if not self.live():
            assert self.secrets() == []


@pytest.fixture(scope="module")
def own_world() -> Iterator[World]:
    """A simulated AWS whose clock advances by days."""
    with new_world() as world:
        yield world


@pytest.fixture(scope="module")
def client(own_world: World) -> Any:
    """A DynamoDB client for many threads."""
    return own_world.aws.client("dynamodb", max_pool_connections=8)


@pytest.fixture
def stage(own_world: World, client: Any) -> Stage:
    """A project of its own."""
    own_world.aws.faults.clear()
    return Stage(own_world, client)


def never_registered(_: Stage) -> None:
    """The runner was never registered."""


def registered(stage: Stage) -> None:
    """The runner is registered."""
    stage.register(stage.store())


def deleted(stage: Stage) -> None:
    """The runner was registered and deleted."""
    registered(stage)
    stage.delete(stage.store())


def change(stage: Stage) -> None:
    """Change the registration."""
    stage.register(stage.store(), "other")


def deletion(stage: Stage) -> None:
    """Delete the runner."""
    stage.delete(stage.store())


def deletion_and_registration(stage: Stage) -> None:
    """Delete the runner and register it again."""
    deletion(stage)
    registered(stage)


def registration_and_deletion(stage: Stage) -> None:
    """Register the runner and delete it."""
    registered(stage)
    deletion(stage)


def registration_by_a_clock_ahead_and_deletion(stage: Stage) -> None:
    """Register the runner by a store whose clock is ahead, and delete it."""
    stage.register(stage.store(skew=30))
    deletion(stage)


def worker(stage: Stage) -> None:
    """Let a worker do all due work."""
    stage.work()


BEFORE = (never_registered, registered, deleted)
DELETIONS = (registration_and_deletion, registration_by_a_clock_ahead_and_deletion)
MEANWHILE = (
    change,
    deletion,
    deletion_and_registration,
    *DELETIONS,
)


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("before", BEFORE)
def test_overtaken_registration_is_the_final_one(
    stage: Stage,
    before: Callable[[Stage], None],
    meanwhile: Callable[[Stage], None],
    call: int,
) -> None:
    """The registration that ends last is in the row, with a generation above all earlier ones."""
    before(stage)
    store = stage.store_interrupted(meanwhile, at=call)
    stage.register(store)
    [row] = stage.live()
    assert row.audience == "models"
    stage.assert_consistent()


@pytest.mark.parametrize("meanwhile", [*MEANWHILE, worker])
def test_overtaken_deletion_leaves_no_runner(
    stage: Stage, meanwhile: Callable[[Stage], None]
) -> None:
    """A deletion deletes the runner in the state that concurrent requests have given it."""
    registered(stage)
    store = stage.store_interrupted(meanwhile, at=1)
    with suppress(RequestFailed):  # 404: another request has deleted it
        stage.delete(store)
    assert stage.live() == []
    stage.assert_consistent()


@pytest.mark.parametrize("call", [1, 2])
def test_change_overtaken_by_a_worker_counts(stage: Stage, call: int) -> None:
    """The changed runner starts without the worker's token and gets its own."""
    registered(stage)
    store = stage.store_interrupted(worker, at=call)
    row = stage.register(store, "other")
    assert stage.live() == [row]
    assert row.slot is None
    stage.assert_settled()


def test_worker_overtaken_by_a_change_commits_nothing(stage: Stage) -> None:
    """The changed runner has a later generation than the token that the worker has written."""
    registered(stage)
    [before] = stage.live()
    stage.world.aws.faults.follow("CreateSecret", Afterwards(lambda: change(stage)))
    stage.work()
    stage.work()
    [row] = stage.live()
    assert (row.audience, row.generation > before.generation + 1) == ("other", True)
    assert stage.world.token(row)["generation"] == row.generation
    stage.assert_settled()


def test_worker_overtaken_by_a_deletion_leaves_no_secret(stage: Stage) -> None:
    """The secret that the worker created is deleted."""
    registered(stage)
    stage.world.aws.faults.follow("CreateSecret", Afterwards(lambda: deletion(stage)))
    stage.work()
    stage.assert_settled()
    assert stage.secrets() == []


def test_sweep_keeps_the_secret_of_a_runner_registered_by_a_slow_clock(
    stage: Stage,
) -> None:
    """The sweep of a deleted runner of a faster clock keeps the secret of the live runner."""
    store = stage.store_interrupted(registration_by_a_clock_ahead_and_deletion, at=3)
    stage.register(store)
    stage.work()
    [row] = stage.live()
    assert stage.world.token(row)["generation"] == row.generation
    stage.assert_settled()


def test_many_concurrent_requests_end_in_a_consistent_state(stage: Stage) -> None:
    """Eight threads with different clocks register, change and delete one runner."""
    barrier = Barrier(8)

    def send_requests(number: int) -> set[str]:
        store = stage.store(skew=number - 4)
        barrier.wait()
        failures = set()
        for round_number in range(3):
            try:
                if (number + round_number) % 3:
                    stage.register(store, f"audience-{number % 2}")
                else:
                    stage.delete(store)
            except (RequestFailed, Contended) as failure:  # other requests were faster each time
                failures.add(reason_of(failure))
        return failures

    with ThreadPoolExecutor(8) as threads:
        failures = set().union(*threads.map(send_requests, range(8)))
    assert failures <= {"not_found", "store_unavailable"}
    stage.assert_consistent()
    stage.assert_settled()
