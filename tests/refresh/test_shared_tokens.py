"""One token for several runners: which runners take it, and which keep their own."""

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
    """A runner whose token of 900 seconds is due, with 330 seconds left."""
    row = world.register("due")
    world.worker().refresh(row.work_unit)
    world.clock.advance(570)
    return row_of(world, "due")


@pytest.mark.parametrize(("life", "is_taken"), [(330, False), (331, True)])
def test_cached_token_is_written_for_a_new_runner_only(
    world: World, due: RunnerRow, life: int, *, is_taken: bool
) -> None:
    """A new runner takes what a cache has left; one with a token knows the full lifetime."""
    world.register("new")
    world.issuer.age = 900 - life
    worker = world.worker()
    worker.refresh(due.work_unit)
    assert row_of(world, "new").expires_at == world.clock() + life
    assert (row_of(world, "due").generation > due.generation) is is_taken
    assert row_of(world, "due").expires_at == (world.clock() + life if is_taken else due.expires_at)
    assert worker.failed == ([] if is_taken else [("due", "nearly_dead_token")])
    assert world.mints() == 2


def test_cached_token_is_written_for_all_new_runners(world: World, due: RunnerRow) -> None:
    """The next invocation mints again for the runner that waits."""
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
