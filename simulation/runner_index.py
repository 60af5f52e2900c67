"""`RunnersTable` in memory, with its sparse index of what is due."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Protocol

from byline.refresh.work_units import WorkUnit


class Row(Protocol):
    """What the index needs of a row."""

    @property
    def runner(self) -> str: ...
    @property
    def work_unit(self) -> WorkUnit: ...
    @property
    def due_at(self) -> int | None: ...


class RunnerIndex[R: Row]:
    """Rows by runner; of each unit those that are due. Runners' names are unique here."""

    def __init__(self, rows: Iterable[R]) -> None:
        self._rows = {row.runner: row for row in rows}
        self._due: defaultdict[WorkUnit, dict[str, R]] = defaultdict(dict)
        self._calendar: defaultdict[int, list[R]] = defaultdict(list)
        self._until = -1
        for row in self._rows.values():
            self._calendar[row.due_at or 0].append(row)

    def rows(self) -> Iterable[R]:
        return self._rows.values()

    def get(self, runner: str) -> R:
        return self._rows[runner]

    def due(self, unit: WorkUnit, *, now: float) -> list[R]:
        """The unit's rows that are due; a planner may have looked further ahead."""
        self._advance(int(now))
        return [row for row in self._due[unit].values() if (row.due_at or 0) <= now]

    def all_due(self, *, now: float) -> Iterator[R]:
        """All rows that are due by `now`, which may be yet to come."""
        self._advance(int(now))
        for rows in self._due.values():
            yield from rows.values()

    def put(self, row: R) -> None:
        """Write a row, whose due time is another one than before."""
        self._rows[row.runner] = row
        due = self._due[row.work_unit]
        due.pop(row.runner, None)
        due_at = row.due_at or 0
        if due_at <= self._until:
            due[row.runner] = row
        else:
            self._calendar[due_at].append(row)

    def _holds(self, row: R, second: int) -> bool:
        """Whether an entry of the calendar still stands, and no later write has overtaken it."""
        return self._rows[row.runner] is row and row.due_at == second

    def _advance(self, now: int) -> None:
        for second in range(self._until + 1, now + 1):
            for row in self._calendar.pop(second, ()):
                if self._holds(row, second):
                    self._due[row.work_unit][row.runner] = row
        self._until = max(self._until, now)
