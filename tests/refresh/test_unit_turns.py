"""Units in turns: who comes when, for how long, and what an error or the end of time leaves."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Barrier

import pytest

from byline.refresh.work_units import WorkUnit
from refresh_tokens.refresher import (
    SHORTEST_SLICE_SECONDS,
    UNITS_AT_ONCE,
    SliceOutcome,
    run_time_slices,
)
from stand_ins.clock import Clock

END = 100.0


def units(number: int) -> list[WorkUnit]:
    return [WorkUnit(shard="07", project=f"project-{n}") for n in range(number)]


@pytest.fixture
def threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(UNITS_AT_ONCE) as threads:
        yield threads


def turns_of(
    threads: Executor,
    work: list[WorkUnit],
    refresh: Callable[[WorkUnit, float], SliceOutcome],
    *,
    clock: Clock | None = None,
    failures: list[tuple[WorkUnit, Exception]] | None = None,
) -> list[WorkUnit]:
    told = [] if failures is None else failures
    return run_time_slices(
        work,
        refresh=refresh,
        failed=lambda unit, error: told.append((unit, error)),
        threads=threads,
        now=clock or Clock(0),
        end=END,
    )


def test_every_unit_has_its_turn_once_where_it_is_done(threads: Executor) -> None:
    """Whether it had something to do or another worker was at it."""
    seen: list[WorkUnit] = []

    def refresh(unit: WorkUnit, _: float) -> SliceOutcome:
        seen.append(unit)
        return "held" if unit.project == "project-3" else "done"

    assert turns_of(threads, units(50), refresh) == []
    assert sorted(seen) == sorted(units(50))


def test_units_are_worked_on_side_by_side(threads: Executor) -> None:
    """As many at once as are planned: each waits here until all of them are at it."""
    together = Barrier(UNITS_AT_ONCE)

    def refresh(_: WorkUnit, __: float) -> SliceOutcome:
        together.wait(10)
        return "done"

    turns_of(threads, units(UNITS_AT_ONCE), refresh)


def test_unfinished_unit_comes_again_after_all_others(threads: Executor) -> None:
    """Its turn is over, and the line is long."""
    seen: list[WorkUnit] = []

    def refresh(unit: WorkUnit, _: float) -> SliceOutcome:
        seen.append(unit)
        is_big = unit.project == "project-0"
        return "unfinished" if is_big and seen.count(unit) < 3 else "done"

    with ThreadPoolExecutor(1) as one_thread:
        turns_of(one_thread, units(5), refresh)
    assert [unit.project[-1] for unit in seen] == ["0", "1", "2", "3", "4", "0", "0"]


@pytest.mark.parametrize("number", [1, UNITS_AT_ONCE, 3 * UNITS_AT_ONCE])
def test_turns_share_what_time_there_is(threads: Executor, number: int) -> None:
    """One unit may have it all; of three times as many as fit, each a third at the most."""
    ends: list[float] = []

    def refresh(_: WorkUnit, until: float) -> SliceOutcome:
        ends.append(until)
        return "done"

    turns_of(threads, units(number), refresh)
    share = END * UNITS_AT_ONCE / (number - 1 + UNITS_AT_ONCE)
    assert min(ends) == pytest.approx(max(share, SHORTEST_SLICE_SECONDS), rel=0.01)
    assert max(ends) <= END


def test_turn_is_long_enough_to_get_somewhere_and_ends_with_the_time(threads: Executor) -> None:
    """A hundredth of the time would go by with reading alone."""
    ends: list[float] = []

    def refresh(_: WorkUnit, until: float) -> SliceOutcome:
        ends.append(until)
        return "done"

    turns_of(threads, units(2_000), refresh)
    assert min(ends) == SHORTEST_SLICE_SECONDS
    ends.clear()
    turns_of(threads, units(2_000), refresh, clock=Clock(END - 1))
    assert set(ends) == {END}


def test_no_turn_begins_once_the_time_has_come(threads: Executor) -> None:
    """What is waiting then, or was not finished, is left to the next tick: it did not fail."""
    clock, seen = Clock(0), list[str]()

    def refresh(unit: WorkUnit, _: float) -> SliceOutcome:
        seen.append(unit.project[-1])
        clock.advance(60)
        return "unfinished"

    with ThreadPoolExecutor(1) as one_thread:
        assert turns_of(one_thread, units(3), refresh, clock=clock) == []
    assert seen == ["0", "1"]
    assert turns_of(threads, units(3), refresh, clock=Clock(END)) == []
    assert seen == ["0", "1"]


def test_error_ends_a_unit_s_turns_and_nobody_else_s(threads: Executor) -> None:
    """Whatever it is, it is told with its unit, and the thread goes on to the next one."""
    failures: list[tuple[WorkUnit, Exception]] = []

    def refresh(unit: WorkUnit, _: float) -> SliceOutcome:
        if unit.project == "project-1":
            raise ZeroDivisionError
        return "done"

    failed = turns_of(threads, units(30), refresh, failures=failures)
    assert failed == [units(2)[1]]
    assert [(unit, type(error)) for unit, error in failures] == [(units(2)[1], ZeroDivisionError)]
