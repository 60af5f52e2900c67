"""`RunnersTable` in memory, with its sparse index of what is due."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import WorkUnit


class RunnerIndex:
    """All rows by runner, and the due rows by work unit. Runner names are unique in a run."""

    def __init__(self, rows: Iterable[RunnerRow]) -> None:
        self._rows = {row.runner: row for row in rows}
        self._due: defaultdict[WorkUnit, dict[str, RunnerRow]] = defaultdict(dict)
        self._calendar: defaultdict[int, list[RunnerRow]] = defaultdict(list)
        self._until = -1
        for row in self._rows.values():
            self._calendar[row.due_at or 0].append(row)

    def rows(self) -> Iterable[RunnerRow]:
        """All rows."""
        return self._rows.values()

    def get(self, runner: str) -> RunnerRow:
        """The row of a runner."""
        return self._rows[runner]

    def due(self, unit: WorkUnit, *, now: float) -> list[RunnerRow]:
        """The rows of a work unit that are due at `now`, also after a call for a later time."""
        self._advance(int(now))
        return [row for row in self._due[unit].values() if (row.due_at or 0) <= now]

    def all_due(self, *, now: float) -> Iterator[RunnerRow]:
        """All rows that are due by `now`, which may be a time in the future."""
        self._advance(int(now))
        for rows in self._due.values():
            yield from rows.values()

    def put(self, row: RunnerRow) -> None:
        """Write a row. It must be a new object or have a new due time."""
        self._rows[row.runner] = row
        due = self._due[row.work_unit]
        due.pop(row.runner, None)
        due_at = row.due_at or 0
        if due_at <= self._until:
            due[row.runner] = row
        else:
            self._calendar[due_at].append(row)

    def _holds(self, row: RunnerRow, second: int) -> bool:
        """Whether a calendar entry is still valid: no later write replaced the row."""
        return self._rows[row.runner] is row and row.due_at == second

    def _advance(self, now: int) -> None:
        for second in range(self._until + 1, now + 1):
            for row in self._calendar.pop(second, ()):
                if self._holds(row, second):
                    self._due[row.work_unit][row.runner] = row
        self._until = max(self._until, now)
