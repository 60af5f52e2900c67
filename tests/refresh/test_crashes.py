"""Workers that crash between any two steps, run twice or run late leave one consistent token.

Every edge of every call of a worker is tried, before and after, not a sample.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import replace

import pytest

from byline.refresh.token_rows import TokenRow, lease_key
from refresh_tokens.clients import ClientStates
from refresh_tokens.retries import BREAKER_RECHECK_SECONDS, ClientState
from refresh_tokens.sweeper import SWEEP_AGAIN_SECONDS
from stand_ins.secret_store import Behaviour
from tests.refresh.issuer_troubles import error
from tests.refresh.troubles import (
    NEW,
    OLD,
    assert_all_recover,
    assert_consistent,
    assert_no_secret_outside,
    assert_no_token_went_back,
    prepared,
    secrets_of,
    tokens,
)
from tests.refresh.world import LEASE_SECONDS, TABLE, Crash, World, new_world


def slice_that_refreshes(world: World) -> TokenRow:
    """A new token, a due one and a retired one, whose client has a state."""
    row = prepared(world)
    now = int(world.clock())
    trouble = ClientState(error_class="issuer_timeout", since=now, retry_at=now, attempts=1)
    ClientStates(world.dynamodb, TABLE).put("payments", "scheduler", trouble, before=None)
    return row


def slice_that_fails(world: World) -> TokenRow:
    """The same tokens, and an issuer that refuses."""
    row = prepared(world)
    world.issuer.respond["/token"] = error("401 Who", "invalid_client")
    return row


def slice_that_sweeps_again(world: World) -> TokenRow:
    """A retired token before its second sweep."""
    row = prepared(world)
    world.worker().refresh(row.work_unit)
    world.clock.advance(SWEEP_AGAIN_SECONDS)
    return row


SLICES = (slice_that_refreshes, slice_that_fails, slice_that_sweeps_again)


def edges(prepare: Callable[[World], TokenRow]) -> list[int]:
    """The begin and end of all calls of a time slice; of parallel calls the outer ones only."""
    with new_world() as world:
        row = prepare(world)
        worker = world.worker()
        counter = worker.crash_at(10_000)
        assert worker.refresh(row.work_unit) == "done"
    names = counter.edges
    if len(names) < 100:
        return list(range(len(names)))
    return [
        edge
        for edge, name in enumerate(names)
        if name not in names[max(0, edge - 1) : edge] or name not in names[edge + 1 : edge + 2]
    ]


@pytest.mark.parametrize("first", [1, pytest.param(0, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("prepare", SLICES)
def test_crash_at_any_call_loses_no_token(prepare: Callable[[World], TokenRow], first: int) -> None:
    """The next worker completes the refresh, whatever the last call before the crash was.

    Of calls that follow each other, the end leaves the state that the begin of the next one finds,
    so every second edge is tried always, and the others in `make property`.
    """
    fatal = edges(prepare)[first::2]
    assert len(fatal) > 5
    for edge in fatal:
        with new_world() as world:
            row = prepare(world)
            before = tokens(world)
            worker = world.worker()
            counter = worker.crash_at(edge)
            with pytest.raises(Crash):
                worker.refresh(row.work_unit)
            assert counter.is_dead
            assert_no_token_went_back(before, tokens(world))
            world.issuer.respond.clear()
            world.give_client()  # another version of the client's secret closes its breaker
            after = BREAKER_RECHECK_SECONDS if prepare is slice_that_fails else 0
            assert_all_recover(world, row, after=after)


def test_token_written_before_a_crash_is_committed_by_the_next_worker() -> None:
    """The next worker takes the written token over and does not write it again."""
    with new_world() as world:
        row = world.register("nightly")
        first = world.worker()
        put_and_gone = replace_commit_with_crash(first)
        with pytest.raises(Crash):
            first.refresh(row.work_unit)
        assert put_and_gone()
        (before,) = [world.current(name) for name in secrets_of("payments", world)]
        world.clock.advance(LEASE_SECONDS + 1)
        world.worker().refresh(row.work_unit)
        after = world.row("nightly")
        assert after is not None
        assert world.token(after) == before
        assert len(world.aws.secrets.writes) == 2  # one is the client's own secret


def replace_commit_with_crash(worker: object) -> Callable[[], bool]:
    """Let the worker crash when it has written everything, right before its commit."""
    dead = []

    def die(params: object, **_: object) -> None:
        if "generation" in str(params):
            dead.append(True)
        if dead:
            raise Crash

    dynamodb = worker.clients[0]  # type: ignore[attr-defined]
    for operation in ("UpdateItem", "TransactWriteItems", "DeleteItem"):
        dynamodb.meta.events.register(f"provide-client-params.dynamodb.{operation}", die)
    return lambda: bool(dead)


def test_message_delivered_twice_mints_and_writes_once() -> None:
    """A work unit that was just refreshed has no due tokens."""
    with new_world() as world:
        unit = prepared(world).work_unit
        worker = world.worker()
        for _ in range(3):
            assert worker.refresh(unit) == "done"
        assert world.mints() == 4  # two of them before
        assert_consistent(world, runners=(OLD, NEW))


def test_two_workers_without_a_lease_agree_on_every_token() -> None:
    """The lease has expired, and a second worker overtakes the first."""
    with new_world() as world:
        unit = prepared(world).work_unit
        slow, quick = world.worker(), world.worker()
        overtaken: list[bool] = []

        def overtake(**_: object) -> None:
            if not overtaken:
                overtaken.append(True)
                world.clock.advance(LEASE_SECONDS + 1)
                assert quick.refresh(unit) == "done"

        slow.clients[1].meta.events.register("before-call", overtake)
        slow.refresh(unit)
        assert overtaken
        assert_consistent(world, runners=(OLD, NEW))


@pytest.mark.parametrize("skew", [-30, 30])
def test_worker_with_a_wrong_clock_refreshes_in_time(skew: int) -> None:
    """A clock that is 30 seconds off leaves the tokens consistent."""
    with new_world() as world:
        unit = prepared(world).work_unit
        world.clock.advance(60)
        assert world.worker(skew=skew).refresh(unit) == "done"
        world.clock.advance(60)
        world.worker().refresh(unit)
        for runner in (OLD, NEW):
            row = world.row(runner)
            assert row is not None
            assert world.token(row)["generation"] == row.generation
            assert row.expires_at is not None
            assert row.expires_at > world.clock() + 300


@pytest.mark.parametrize("skews", [(0, 0), (-30, 30), (30, -30)])
@pytest.mark.parametrize("lease", ["holds", "is lost"])
def test_two_workers_side_by_side_agree_on_every_token(skews: tuple[int, int], lease: str) -> None:
    """For several rounds, with clocks that differ, with a lease and without."""
    runners = tuple(f"runner-{number}" for number in range(6))
    with new_world() as world, ThreadPoolExecutor(3) as processes:
        unit = world.register_all(runners)[0].work_unit
        workers = [world.worker(skew=skew) for skew in skews]
        for _round in range(4):
            world.clock.advance(31)  # due by both clocks
            before = tokens(world)
            at_work = [processes.submit(worker.refresh, unit) for worker in workers]
            while lease == "is lost" and not all(done.done() for done in at_work):
                world.dynamodb.delete_item(TableName=TABLE, Key=lease_key(unit))
            assert {done.result() for done in at_work} <= {"done", "held"}
            assert_no_token_went_back(before, tokens(world))
            world.clock.advance(LEASE_SECONDS)
            assert world.worker().refresh(unit) in {"done", "held"}
            for runner in runners:
                row = world.row(runner)
                assert row is not None
                assert row.slot is not None
                assert world.token(row)["generation"] == row.generation
                assert world.current(world.secret(row, row.slot)) == world.token(row)
            world.clock.advance(540)
        assert_no_secret_outside(world)
        assert max(world.aws.secrets.most_writes_in_a_day().values()) <= 4  # once a round


def test_late_worker_writes_no_older_token_over_a_newer_one() -> None:
    """A worker that paused between mint and write finds its generation taken."""
    with new_world() as world:
        row = world.register("nightly")
        late, other = world.worker(), world.worker()
        overtaken: list[bool] = []
        generations: list[int] = []

        def sleep_before_put(**_: object) -> None:
            if overtaken:
                return
            overtaken.append(True)
            world.clock.advance(LEASE_SECONDS + 1)
            for _round in range(3):  # three generations, back in the same slot
                other.refresh(row.work_unit)
                after = world.row("nightly")
                assert after is not None
                assert after.due_at is not None
                generations.append(after.generation)
                world.clock.advance(after.due_at - world.clock())

        events = late.clients[1].meta.events
        events.register("before-call.secrets-manager.CreateSecret", sleep_before_put)
        late.refresh(row.work_unit)
        assert overtaken
        assert generations[-1] == generation_of(world, "nightly")
        other.refresh(row.work_unit)
        assert_consistent(world, runners=("nightly",))


def generation_of(world: World, runner: str) -> int:
    row = world.row(runner)
    assert row is not None
    return row.generation


def test_refresh_overtaken_by_a_change_of_the_request_leaves_no_secret() -> None:
    """The runner moves to another token while its token is refreshed for the last time."""
    with new_world(lifetime=3_600) as world:
        row = world.register("nightly")
        worker, other = world.worker(), world.worker()
        changed: list[TokenRow] = []

        def change(**_: object) -> None:
            if not changed:
                changed.append(world.register("nightly", audience="elsewhere"))
                world.clock.advance(LEASE_SECONDS + 1)
                other.refresh(row.work_unit)

        worker.clients[1].meta.events.register("before-call.secrets-manager.CreateSecret", change)
        worker.refresh(row.work_unit)
        assert changed
        assert other.refreshed == ["elsewhere"]
        assert_consistent(world, runners=("nightly",))
        assert secrets_of("payments", world) == tokens(world).keys()


@pytest.fixture
def laggard() -> Iterator[World]:
    with new_world(behaviour=Behaviour(reads_lag=2)) as world:
        yield world


def test_version_that_cannot_be_read_yet_is_not_written_again(laggard: World) -> None:
    """Reads of Secrets Manager may be behind its writes; the worker reads again later."""
    row = laggard.register("nightly")
    laggard.clock.advance(10)
    first = laggard.worker()
    replace_commit_with_crash(first)
    with pytest.raises(Crash):
        first.refresh(row.work_unit)
    writes = len(laggard.aws.secrets.writes)
    laggard.clock.advance(LEASE_SECONDS + 1)
    worker = laggard.worker()
    worker.refresh(row.work_unit)
    laggard.clock.advance(120)
    worker.refresh(row.work_unit)
    after = laggard.row("nightly")
    assert after is not None
    assert after.slot is not None
    assert len(laggard.aws.secrets.writes) == writes


def test_inconsistent_token_fails_the_consistency_check() -> None:
    """The check of this module fails for a row whose generation has no secret version."""
    with new_world() as world:
        row = prepared(world)
        world.worker().refresh(row.work_unit)
        after = world.row(OLD)
        assert after is not None
        world.put(replace(after, generation=after.generation + 1))
        with pytest.raises(Exception, match="ResourceNotFound"):
            assert_consistent(world, runners=(OLD, NEW))
