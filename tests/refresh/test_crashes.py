"""A worker dies between any two of its steps, comes twice, or late: one consistent token remains.

Every edge of every call of a worker is tried, before and after, not a sample.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

import pytest

from byline.refresh_units import token_secret_name
from byline.runner_rows import RunnerRow
from tests.refresh.world import LEASE_SECONDS, Crash, World, new_world
from tests.stand_ins.secret_store import Behaviour


@pytest.fixture(scope="module")
def edges() -> int:
    """How many edges a turn with two new runners and a due one has."""
    with new_world() as world:
        unit = prepared(world)
        worker = world.worker()
        counter = worker.crash_at(10_000)
        assert worker.refresh(unit.unit) == "done"
        return counter.edges


RUNNERS = ("old", "new-1", "new-2")


def prepared(world: World) -> RunnerRow:
    """A runner with a token that is due again, and two new ones."""
    old = world.register("old")
    world.worker().refresh(old.unit)
    world.clock.advance(600)
    world.register("new-1")
    return world.register("new-2")


def assert_consistent(
    world: World, *, runners: tuple[str, ...] = ("old", "new-1", "new-2")
) -> None:
    """Each runner's row points at a token that is there, is its newest, and lives as it says."""
    for runner in runners:
        row = world.row(runner)
        assert row is not None, runner
        assert row.slot is not None, runner
        token = world.token(row)
        assert token["generation"] == row.generation
        current = world.current(token_secret_name(row.project, row.runner, row.slot))
        assert current["generation"] == row.generation, "an older token stands over a newer one"
        assert row.expires_at is not None
        expires_at = datetime.fromisoformat(token["expires_at"]).timestamp()
        assert row.expires_at == expires_at, "the row tells another token's time"
        assert row.expires_at > world.clock() + 300
        assert row.due_at is not None
        assert row.due_at > world.clock()
    assert world.aws.leaks() == []
    assert not world.aws.secrets.texts.occur_in(world.rows())


def test_worker_that_dies_at_any_edge_loses_nothing(edges: int) -> None:
    """Whatever was the last thing that a worker did, the next one brings all to one end."""
    assert edges > 20
    for edge in range(edges):
        with new_world() as world:
            unit = prepared(world).unit
            worker = world.worker()
            counter = worker.crash_at(edge)
            with pytest.raises(Crash):
                worker.refresh(unit)
            assert counter.is_dead
            world.clock.advance(LEASE_SECONDS + 1)
            outcome = world.worker().refresh(unit)
            assert outcome == "done", edge
            assert_consistent(world)


def test_second_worker_finds_what_the_first_has_put(edges: int) -> None:
    """A token that was put before the crash is taken over, and not written a second time."""
    with new_world() as world:
        row = world.register("nightly")
        first = world.worker()
        put_and_gone = replace_commit_with_crash(first)
        with pytest.raises(Crash):
            first.refresh(row.unit)
        assert put_and_gone()
        (before,) = [world.current(name) for name in names(world)]
        world.clock.advance(LEASE_SECONDS + 1)
        world.worker().refresh(row.unit)
        after = world.row("nightly")
        assert after is not None
        assert world.token(after) == before
        assert len(world.aws.secrets.writes) == len(names(world)) + 1  # and the client's own secret


def names(world: World) -> list[str]:
    return [name for name in world.aws.secrets.names() if name.startswith("byline/runners/")]


def replace_commit_with_crash(worker: object) -> Callable[[], bool]:
    """The worker dies when it has put everything, right before its commit."""
    dead = []

    def die(params: object, **_: object) -> None:
        if "generation" in str(params) and "lease#" not in str(params):
            dead.append(True)
        if dead:
            raise Crash

    dynamodb = worker.clients[0]  # type: ignore[attr-defined]
    for operation in ("PutItem", "TransactWriteItems", "DeleteItem"):
        dynamodb.meta.events.register(f"provide-client-params.dynamodb.{operation}", die)
    return lambda: bool(dead)


def test_message_that_comes_twice_mints_and_writes_once() -> None:
    """A unit that was just refreshed has nothing left to do."""
    with new_world() as world:
        unit = prepared(world).unit
        worker = world.worker()
        for _ in range(3):
            assert worker.refresh(unit) == "done"
        assert world.mints() == 2  # one for the old runner before, one now for all
        assert_consistent(world)


def test_two_workers_at_once_end_in_one_token() -> None:
    """Without the lease between them (it ran out) two workers still agree on every token."""
    with new_world() as world:
        unit = prepared(world).unit
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
        assert_consistent(world)


@pytest.mark.parametrize("skew", [-30, 30])
def test_clocks_that_differ_harm_nothing(skew: int) -> None:
    """A worker whose clock is half a minute off refreshes in time, and agrees with the others."""
    with new_world() as world:
        unit = prepared(world).unit
        world.clock.advance(60)
        assert world.worker(skew=skew).refresh(unit) == "done"
        world.clock.advance(60)
        world.worker().refresh(unit)
        for runner in ("old", "new-1", "new-2"):
            row = world.row(runner)
            assert row is not None
            assert world.token(row)["generation"] == row.generation
            assert row.expires_at is not None
            assert row.expires_at > world.clock() + 300


def test_late_worker_does_not_put_an_older_token_over_a_newer_one() -> None:
    """A worker that slept between mint and put finds its generation taken, and changes nothing."""
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
            for _turn in range(3):  # three generations, back in the same slot
                other.refresh(row.unit)
                after = world.row("nightly")
                assert after is not None
                assert after.due_at is not None
                generations.append(after.generation)
                world.clock.advance(after.due_at - world.clock())

        events = late.clients[1].meta.events
        events.register("before-call.secrets-manager.CreateSecret", sleep_before_put)
        late.refresh(row.unit)
        assert overtaken
        assert generations[-1] == generation_of(world, "nightly")
        other.refresh(row.unit)
        assert_consistent(world, runners=("nightly",))


def generation_of(world: World, runner: str) -> int:
    row = world.row(runner)
    assert row is not None
    return row.generation


def registered_anew(world: World, row: RunnerRow) -> RunnerRow:
    """What the route does for a changed registration: another revision, a later generation."""
    now = int(world.clock())
    anew = replace(
        world.row(row.runner) or row,
        revision="changed",
        generation=max(row.generation + 1, now * 1000 + 7),
        audience="elsewhere",
        due_at=now,
    )
    anew = replace(anew, shard=anew.unit.shard)
    world.put(anew)
    return anew


def test_refresh_that_a_new_registration_overtook_does_not_count() -> None:
    """The token of the old registration is replaced by one of the new, in the same turn or next."""
    with new_world(lifetime=3_600) as world:
        row = world.register("nightly")
        worker, other = world.worker(), world.worker()
        changed: list[RunnerRow] = []

        def change(**_: object) -> None:
            if not changed:
                changed.append(registered_anew(world, row))
                other.refresh(changed[0].unit)

        worker.clients[1].meta.events.register("before-call.secrets-manager.CreateSecret", change)
        worker.refresh(row.unit)
        assert changed
        for _ in range(2):
            other.refresh(changed[0].unit)
        after = world.row("nightly")
        assert after is not None
        assert after.audience == "elsewhere"
        assert after.slot is not None
        current = world.current(token_secret_name("payments", "nightly", after.slot))
        assert current["generation"] == after.generation


@pytest.fixture
def laggard() -> Iterator[World]:
    with new_world(behaviour=Behaviour(reads_lag=2)) as world:
        yield world


def test_late_reads_of_secrets_only_delay(laggard: World) -> None:
    """A version that was put and cannot be read yet is looked for again later, not put anew."""
    row = laggard.register("nightly")
    laggard.clock.advance(10)
    first = laggard.worker()
    replace_commit_with_crash(first)
    with pytest.raises(Crash):
        first.refresh(row.unit)
    writes = len(laggard.aws.secrets.writes)
    laggard.clock.advance(LEASE_SECONDS + 1)
    worker = laggard.worker()
    worker.refresh(row.unit)
    laggard.clock.advance(120)
    worker.refresh(row.unit)
    after = laggard.row("nightly")
    assert after is not None
    assert after.slot is not None
    assert len(laggard.aws.secrets.writes) == writes


def test_unreachable_end_state_is_seen(edges: int) -> None:
    """The check above can fail: a token that was tampered with is found."""
    with new_world() as world:
        row = prepared(world)
        world.worker().refresh(row.unit)
        after = world.row("old")
        assert after is not None
        world.put(replace(after, generation=after.generation + 1))
        with pytest.raises(Exception, match="ResourceNotFound"):
            assert_consistent(world)
