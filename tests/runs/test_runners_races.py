"""Concurrent registrations, deletions and workers of one token end in one consistent state.

Each request is stopped before each of its AWS calls, and another request or a worker runs
completely. Then eight threads work on one token at once.
"""

import time
from collections import Counter
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
from byline.refresh.token_rows import TokenRow, read_token_row
from refresh_tokens.sweeper import SWEEP_AGAIN_SECONDS
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.errors import RequestFailed
from serve_runs.runners.changes import Runner
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.store import RunnerStore
from stand_ins.faults import Afterwards
from stand_ins.refusal import transaction_cancelled
from tests.refresh.world import SECRETS, TABLE, Worker, World, new_world
from tests.runs.table_server import ACCESS_TABLE

ROUNDS = 6

CONFLICT = transaction_cancelled("TransactionConflict", "None", "None")

_projects = count(1)


def _store(client: Any) -> RunnerStore:
    audit = AuditTrail(client, ACCESS_TABLE, now=time.time)
    return RunnerStore(client, TABLE, audit=audit, now=time.time)


class Stage:
    """A project with a runner `weekly`, and requests for its runner `nightly` by separate stores.

    Both runners ask for the token `models`, unless a request says otherwise.
    """

    def __init__(self, world: World, client: Any) -> None:
        self.world = world
        self.client = client
        self.ids: set[str] = set()
        """The ids of all tokens that a registration has answered."""
        self.project = f"stage-{next(_projects)}"
        world.give_client(project=self.project)

    @cached_property
    def _worker(self) -> Worker:
        """The worker of the project."""
        return self.world.worker()

    def store(self) -> RunnerStore:
        """A store of its own."""
        return _store(self.client)

    def store_interrupted(self, by: Callable[["Stage"], None], *, at: int) -> RunnerStore:
        """A store that runs `by` before its AWS call with the number `at`, from 0."""
        calls = count()
        client = self.world.aws.client("dynamodb")
        client.meta.events.register(
            "before-send", lambda **_: by(self) if next(calls) == at else None
        )
        return _store(client)

    def register(
        self, store: RunnerStore, audience: str = "models", *, runner: str = "nightly"
    ) -> Runner:
        """Register a runner."""
        request = RunnerRegistration(
            project=self.project,
            runner=runner,
            body=RegisterRunner(client="scheduler", audience=audience),
            action=ActionContext(None, str(uuid4())),
        )
        registered = store.register(request, permit=lambda *_: None).runner
        self.ids.add(registered.token.id)
        return registered

    def delete(self, store: RunnerStore, *, runner: str = "nightly") -> None:
        """Delete a runner where it exists."""
        if runner in [row.runner for row in self.runners()]:
            store.delete(self.project, runner, action=ActionContext(None, str(uuid4())))

    def work(self) -> None:
        """Let a worker do all due work of the project."""
        self.world.catch_up()
        for unit in {row.work_unit for row in (*self.tokens(), *self.retired())}:
            self._worker.refresh(unit)

    def runners(self) -> list[RunnerRow]:
        """The rows of runners."""
        return [read_runner(item) for item in self._items(self.project)]

    def tokens(self) -> list[TokenRow]:
        """The rows of tokens with runners."""
        return [read_token_row(item) for item in self._items(f"tokens#{self.project}")]

    def retired(self) -> list[TokenRow]:
        """The rows of tokens without a runner."""
        return [read_token_row(item) for item in self._items(f"retired#{self.project}")]

    def _items(self, partition: str) -> list[Any]:
        page = self.client.query(
            TableName=TABLE,
            ConsistentRead=True,
            KeyConditionExpression="#project = :project",
            ExpressionAttributeNames={"#project": "project"},
            ExpressionAttributeValues={":project": {"S": partition}},
        )
        items: list[Any] = page["Items"]
        return items

    def secrets(self) -> set[str]:
        """The ids of the tokens that have secrets."""
        start = SECRETS.token(self.project, "scheduler", "", 0).removesuffix("/0")
        names = [name for name in self.world.aws.secrets.names() if name.startswith(start)]
        return {name.split("/")[-2] for name in names}

    def settle(self) -> None:
        """Advance the clock, with a worker in each round, until no work is left."""
        for _ in range(ROUNDS):
            self.work()
            self.world.clock.advance(SWEEP_AGAIN_SECONDS)
            unswept = [row for row in self.retired() if row.shard is not None]
            if not unswept and not [row for row in self.tokens() if row.slot is None]:
                return

    def assert_consistent(self) -> None:
        """Fail unless the rows are consistent after any sequence of requests.

        Each runner points to a token, each token counts its runners, and no id is used twice.
        """
        runners, tokens, retired = self.runners(), self.tokens(), self.retired()
        pointers = Counter(row.token for row in runners)
        assert pointers == {token.mint_key.token_key: token.runners for token in tokens}
        assert all(row.token == row.mint_key.token_key for row in runners)
        ids = [token.id for token in (*tokens, *retired)]
        assert len(set(ids)) == len(ids)
        # The row of a token that vanished would leave its secrets behind.
        assert self.ids == set(ids)

    def assert_settled(self) -> None:
        """Fail unless each token has its secret, and a retired one has none."""
        self.settle()
        self.assert_consistent()
        assert all(row.shard is None for row in self.retired())
        for token in self.tokens():
            assert token.last_error is None
            assert self.world.token(token)["generation"] == token.generation
        assert self.secrets() == {token.id for token in self.tokens()}


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


def shared(stage: Stage) -> None:
    """The runner shares its token."""
    registered(stage)
    stage.register(stage.store(), runner="weekly")


def only_the_other(stage: Stage) -> None:
    """Another runner has the token."""
    stage.register(stage.store(), runner="weekly")


def deleted(stage: Stage) -> None:
    """The runner was registered and deleted."""
    registered(stage)
    stage.delete(stage.store())


def with_another_token(stage: Stage) -> None:
    """The runner is registered for another token."""
    stage.register(stage.store(), "other")


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


def arrival(stage: Stage) -> None:
    """Register another runner for the same token."""
    stage.register(stage.store(), runner="weekly")


def departure(stage: Stage) -> None:
    """Delete the other runner of the same token."""
    stage.delete(stage.store(), runner="weekly")


def worker(stage: Stage) -> None:
    """Let a worker do all due work."""
    stage.work()


BEFORE = (never_registered, registered, shared, only_the_other, deleted, with_another_token)
MEANWHILE = (
    change,
    deletion,
    deletion_and_registration,
    registration_and_deletion,
    arrival,
    departure,
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
    """The registration that ends last is in the row, and each token counts its runners."""
    before(stage)
    store = stage.store_interrupted(meanwhile, at=call)
    stage.register(store)
    assert "models" in [row.audience for row in stage.runners() if row.runner == "nightly"]
    stage.assert_consistent()


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("meanwhile", [*MEANWHILE, worker])
@pytest.mark.parametrize("before", [registered, shared])
def test_overtaken_deletion_leaves_no_runner(
    stage: Stage,
    before: Callable[[Stage], None],
    meanwhile: Callable[[Stage], None],
    call: int,
) -> None:
    """A deletion deletes the runner in the state that concurrent requests have given it."""
    before(stage)
    store = stage.store_interrupted(meanwhile, at=call)
    with suppress(RequestFailed):  # 404: another request has deleted it
        store.delete(stage.project, "nightly", action=ActionContext(None, str(uuid4())))
    assert [row for row in stage.runners() if row.runner == "nightly"] == []
    stage.assert_consistent()


@pytest.mark.parametrize("call", [1, 2])
def test_change_overtaken_by_a_worker_counts(stage: Stage, call: int) -> None:
    """The changed runner starts without the worker's token and gets its own."""
    registered(stage)
    store = stage.store_interrupted(worker, at=call)
    runner = stage.register(store, "other")
    assert stage.runners() == [runner.row]
    assert runner.token.slot is None
    stage.assert_settled()


def test_worker_overtaken_by_a_change_leaves_no_secret(stage: Stage) -> None:
    """The secret of the token that the runner has left is deleted, and it gets the other token."""
    registered(stage)
    stage.world.aws.faults.follow("CreateSecret", Afterwards(lambda: change(stage)))
    stage.work()
    stage.work()
    [token] = stage.tokens()
    assert token.audience == "other"
    assert stage.world.token(token)["generation"] == token.generation
    stage.assert_settled()


def test_worker_overtaken_by_a_deletion_leaves_no_secret(stage: Stage) -> None:
    """The secret that the worker created is deleted."""
    registered(stage)
    stage.world.aws.faults.follow("CreateSecret", Afterwards(lambda: deletion(stage)))
    stage.work()
    stage.assert_settled()
    assert stage.secrets() == set()


def test_worker_overtaken_by_an_arrival_commits_its_token(stage: Stage) -> None:
    """A runner that enters a token during its refresh does not make the commit fail."""
    registered(stage)
    mints = stage.world.mints()
    stage.world.aws.faults.follow("CreateSecret", Afterwards(lambda: arrival(stage)))
    stage.work()
    [token] = stage.tokens()
    assert (token.runners, token.generation) == (2, 1)
    stage.assert_settled()
    assert stage.world.mints() == mints + 1


def test_registration_that_conflicts_at_every_attempt_writes_nothing(stage: Stage) -> None:
    """The answer is 503, and the rows are as before."""
    only_the_other(stage)
    before = stage.tokens()
    stage.world.aws.faults.follow("TransactWriteItems", afterwards=CONFLICT)
    store = stage.store_interrupted(never_registered, at=0)
    with pytest.raises(RequestFailed) as failure:
        stage.register(store)
    assert failure.value.reason == "store_unavailable"
    stage.world.aws.faults.clear()
    assert (stage.tokens(), len(stage.runners())) == (before, 1)
    stage.assert_consistent()


def test_eight_runners_enter_and_leave_one_token_at_once(stage: Stage) -> None:
    """They share one row and one mint, and the last one that goes retires it."""
    names = [f"gpu-{number}" for number in range(8)]
    barrier = Barrier(8)

    def at_once(act: Callable[[RunnerStore, str], object]) -> None:
        def run(name: str) -> None:
            store = stage.store()
            barrier.wait()
            act(store, name)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(run, names))

    at_once(lambda store, name: stage.register(store, runner=name))
    [token] = stage.tokens()
    assert (token.runners, stage.retired()) == (8, [])
    mints = stage.world.mints()
    stage.work()
    assert stage.world.mints() == mints + 1
    at_once(lambda store, name: stage.delete(store, runner=name))
    assert (stage.tokens(), [row.id for row in stage.retired()]) == ([], [token.id])
    stage.assert_settled()


def test_many_concurrent_requests_end_in_a_consistent_state(stage: Stage) -> None:
    """Eight threads register, change and delete three runners with two tokens."""
    barrier = Barrier(8)

    def send_requests(number: int) -> set[str]:
        store = stage.store()
        runner = f"gpu-{number % 3}"
        barrier.wait()
        failures: set[str] = set()
        for round_number in range(3):
            try:
                if (number + round_number) % 3:
                    stage.register(store, f"audience-{number % 2}", runner=runner)
                else:
                    stage.delete(store, runner=runner)
            except RequestFailed as failure:  # other requests were faster each time
                failures.add(failure.reason)
        return failures

    with ThreadPoolExecutor(8) as threads:
        failures = set().union(*threads.map(send_requests, range(8)))
    assert failures <= {"not_found", "store_unavailable"}
    stage.assert_consistent()
    stage.assert_settled()
