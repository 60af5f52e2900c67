"""Time slices: their order and length, and what an error or the end of time leaves."""

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


def slices_of(
    threads: Executor,
    work: list[WorkUnit],
    refresh: Callable[[WorkUnit, float], SliceOutcome],
    *,
    clock: Clock | None = None,
    failures: list[tuple[WorkUnit, Exception]] | None = None,
) -> list[WorkUnit]:
    reported = [] if failures is None else failures
    return run_time_slices(
        work,
        refresh=refresh,
        failed=lambda unit, error: reported.append((unit, error)),
        threads=threads,
        now=clock or Clock(0),
        end=END,
    )


def test_each_finished_work_unit_has_one_time_slice(threads: Executor) -> None:
    """Whether it had work to do or another worker had its lease."""
    seen: list[WorkUnit] = []

    def refresh(unit: WorkUnit, _: float) -> SliceOutcome:
        seen.append(unit)
        return "held" if unit.project == "project-3" else "done"

    assert slices_of(threads, units(50), refresh) == []
    assert sorted(seen) == sorted(units(50))


def test_work_units_are_refreshed_side_by_side(threads: Executor) -> None:
    """`UNITS_AT_ONCE` at a time: each waits here until all have begun."""
    together = Barrier(UNITS_AT_ONCE)

    def refresh(_: WorkUnit, __: float) -> SliceOutcome:
        together.wait(10)
        return "done"

    slices_of(threads, units(UNITS_AT_ONCE), refresh)


def test_unfinished_work_unit_continues_after_all_others(threads: Executor) -> None:
    """Its next time slice begins when each other one has had its first."""
    seen: list[WorkUnit] = []

    def refresh(unit: WorkUnit, _: float) -> SliceOutcome:
        seen.append(unit)
        is_big = unit.project == "project-0"
        return "unfinished" if is_big and seen.count(unit) < 3 else "done"

    with ThreadPoolExecutor(1) as one_thread:
        slices_of(one_thread, units(5), refresh)
    assert [unit.project[-1] for unit in seen] == ["0", "1", "2", "3", "4", "0", "0"]


@pytest.mark.parametrize("number", [1, UNITS_AT_ONCE, 3 * UNITS_AT_ONCE])
def test_time_slices_share_the_time(threads: Executor, number: int) -> None:
    """One work unit may use all of it; of three times as many as fit, each a third."""
    ends: list[float] = []

    def refresh(_: WorkUnit, until: float) -> SliceOutcome:
        ends.append(until)
        return "done"

    slices_of(threads, units(number), refresh)
    share = END * UNITS_AT_ONCE / (number - 1 + UNITS_AT_ONCE)
    assert min(ends) == pytest.approx(max(share, SHORTEST_SLICE_SECONDS), rel=0.01)
    assert max(ends) <= END


def test_time_slice_has_a_minimum_and_ends_with_the_time(threads: Executor) -> None:
    """A shorter time slice would be used up by reading alone."""
    ends: list[float] = []

    def refresh(_: WorkUnit, until: float) -> SliceOutcome:
        ends.append(until)
        return "done"

    slices_of(threads, units(2_000), refresh)
    assert min(ends) == SHORTEST_SLICE_SECONDS
    ends.clear()
    slices_of(threads, units(2_000), refresh, clock=Clock(END - 1))
    assert set(ends) == {END}


def test_no_time_slice_begins_after_the_end(threads: Executor) -> None:
    """Work units that wait or are unfinished are left to the next tick."""
    clock, seen = Clock(0), list[str]()

    def refresh(unit: WorkUnit, _: float) -> SliceOutcome:
        seen.append(unit.project[-1])
        clock.advance(60)
        return "unfinished"

    with ThreadPoolExecutor(1) as one_thread:
        assert slices_of(one_thread, units(3), refresh, clock=clock) == []
    assert seen == ["0", "1"]
    assert slices_of(threads, units(3), refresh, clock=Clock(END)) == []
    assert seen == ["0", "1"]


def test_error_ends_the_time_slices_of_one_work_unit(threads: Executor) -> None:
    """The error is reported with its work unit, and the thread goes on."""
    failures: list[tuple[WorkUnit, Exception]] = []

    def refresh(unit: WorkUnit, _: float) -> SliceOutcome:
        if unit.project == "project-1":
            raise ZeroDivisionError
        return "done"

    failed = slices_of(threads, units(30), refresh, failures=failures)
    assert failed == [units(2)[1]]
    assert [(unit, type(error)) for unit, error in failures] == [(units(2)[1], ZeroDivisionError)]
