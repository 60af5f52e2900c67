"""Time slices of work units, until all are done or time is nearly over."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from byline.caching import Clock
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import is_due_soon
from byline.refresh.work_units import WorkUnit

UNITS_AT_ONCE = 10
"""A work unit mostly waits for its issuer and for AWS, so several are refreshed side by side."""

SHORTEST_SLICE_SECONDS = 5

type SliceOutcome = Literal["done", "unfinished", "held"]
"""How a time slice ended. "held": another worker has the lease, and looks again before it releases
it. "unfinished": rows are still due."""


@dataclass(frozen=True, slots=True)
class DueSoonUnit:
    """A work unit with runners that are due before the next tick may find them.

    They are due from `due_at` on, and their deadlines are not later than `deadline`; both are
    seconds since the epoch.
    """

    work_unit: WorkUnit
    due_at: int
    deadline: int


class DueSoonUnits:
    """Collects the runners that are due before the next tick. For several threads."""

    def __init__(self, *, now: Clock) -> None:
        self._now = now
        self._units: dict[WorkUnit, DueSoonUnit] = {}
        self._lock = Lock()

    def note(self, row: RunnerRow) -> None:
        """Add a runner that was refreshed or that failed, if it is due soon."""
        if row.shard is None or row.try_at is None or not is_due_soon(row, now=int(self._now())):
            return
        unit = WorkUnit(shard=row.shard, project=row.project)
        with self._lock:
            known = self._units.get(unit, DueSoonUnit(unit, row.try_at, row.deadline))
            self._units[unit] = DueSoonUnit(
                unit, min(known.due_at, row.try_at), max(known.deadline, row.deadline)
            )

    def take(self) -> list[DueSoonUnit]:
        """The work units since the last call."""
        with self._lock:
            units, self._units = self._units, {}
        return list(units.values())


def run_time_slices(
    work_units: Iterable[WorkUnit],
    *,
    refresh: Callable[[WorkUnit, float], SliceOutcome],
    failed: Callable[[WorkUnit, Exception], None],
    threads: Executor,
    now: Clock,
    end: float,
) -> list[WorkUnit]:
    """Give each work unit time slices that start before `end`, `UNITS_AT_ONCE` at a time.

    An unfinished work unit gets its next slice after all others, so one with a slow issuer or with
    thousands of runners does not delay them. `refresh` gets a work unit and the end of its slice,
    which it may overrun. An error ends that work unit's slices and goes to `failed`. Returns the
    work units that failed; those without time are left to the next tick.
    """
    waiting = deque(work_units)
    failures: list[WorkUnit] = []

    def work(_: int) -> None:
        while now() < end:
            try:
                work_unit = waiting.popleft()
            except IndexError:
                return
            share = (end - now()) * UNITS_AT_ONCE / (len(waiting) + UNITS_AT_ONCE)
            try:
                outcome = refresh(work_unit, min(end, now() + max(share, SHORTEST_SLICE_SECONDS)))
            except Exception as error:
                failures.append(work_unit)
                failed(work_unit, error)
                continue
            if outcome == "unfinished":
                waiting.append(work_unit)

    for _ in threads.map(work, range(min(UNITS_AT_ONCE, len(waiting)))):
        pass
    return failures
