"""One token for several runners: who may be given it, and who is better off with the one it has."""

from collections.abc import Iterator

import pytest

from byline.refresh.runner_rows import RunnerRow
from tests.refresh.world import World, new_world


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


def row_of(world: World, runner: str) -> RunnerRow:
    row = world.row(runner)
    assert row is not None
    return row


@pytest.fixture
def due(world: World) -> RunnerRow:
    """A runner whose token of 900 seconds is due, and has 330 left."""
    row = world.register("due")
    world.worker().refresh(row.work_unit)
    world.clock.advance(570)
    return row_of(world, "due")


@pytest.mark.parametrize(("life", "is_taken"), [(330, False), (331, True)])
def test_token_that_is_nearly_dead_to_one_is_taken_by_the_other_alone(
    world: World, due: RunnerRow, life: int, *, is_taken: bool
) -> None:
    """Out of an issuer's cache it is better than none to a new runner, which is the more urgent;
    a runner that knows how long its tokens live keeps the one it has."""
    world.register("new")
    world.issuer.age = 900 - life
    worker = world.worker()
    worker.refresh(due.work_unit)
    assert row_of(world, "new").expires_at == world.clock() + life
    assert (row_of(world, "due").generation > due.generation) is is_taken
    assert row_of(world, "due").expires_at == (world.clock() + life if is_taken else due.expires_at)
    assert worker.postponed == ([] if is_taken else [("due", "nearly_dead_token")])
    assert world.mints() == 2


def test_token_that_is_nearly_dead_to_one_stops_no_third(world: World, due: RunnerRow) -> None:
    """The next new runner is given it as well, and the next invocation mints for who waits."""
    world.register("first")
    world.register("second")
    world.issuer.age = 700
    worker = world.worker()
    worker.refresh(due.work_unit)
    assert sorted(worker.refreshed) == ["first", "second"]
    world.issuer.age = 0
    world.clock.advance(60)
    world.worker().refresh(due.work_unit)
    assert row_of(world, "due").expires_at == world.clock() + 900
