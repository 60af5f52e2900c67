"""The tokens of `RunnersTable` in memory, with the table's sparse index of what is due."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import WorkUnit


class TokenIndex:
    """All rows by the token's id, and the due rows by work unit."""

    def __init__(self, rows: Iterable[TokenRow]) -> None:
        self._rows: dict[str, TokenRow] = {}
        self._due: defaultdict[WorkUnit, dict[str, TokenRow]] = defaultdict(dict)
        self._calendar: defaultdict[int, list[TokenRow]] = defaultdict(list)
        self._until = -1
        for row in rows:
            self.put(row)

    def rows(self) -> Iterable[TokenRow]:
        """All rows."""
        return self._rows.values()

    def get(self, token_id: str) -> TokenRow | None:
        """The row of a token, live or retired; None once it is removed."""
        return self._rows.get(token_id)

    def row(self, token_id: str) -> TokenRow:
        """The row of a token that exists. Raises `KeyError` for any other."""
        return self._rows[token_id]

    def due(self, unit: WorkUnit, *, now: float) -> list[TokenRow]:
        """The rows of a work unit that are due at `now`, also after a call for a later time."""
        self._advance(int(now))
        return [row for row in self._due[unit].values() if (row.due_at or 0) <= now]

    def all_due(self, *, now: float) -> Iterator[TokenRow]:
        """All rows that are due by `now`, which may be a time in the future."""
        self._advance(int(now))
        for rows in self._due.values():
            yield from rows.values()

    def put(self, row: TokenRow) -> None:
        """Write a row. It must be a new object or have a new due time."""
        self._rows[row.id] = row
        due = self._due[row.work_unit]
        due.pop(row.id, None)
        due_at = row.due_at or 0
        if due_at <= self._until:
            due[row.id] = row
        else:
            self._calendar[due_at].append(row)

    def remove(self, row: TokenRow) -> None:
        """Remove a row."""
        del self._rows[row.id]
        self._due[row.work_unit].pop(row.id, None)

    def _holds(self, row: TokenRow, second: int) -> bool:
        """Whether a calendar entry is still valid: no later write replaced the row."""
        return self._rows.get(row.id) is row and row.due_at == second

    def _advance(self, now: int) -> None:
        for second in range(self._until + 1, now + 1):
            for row in self._calendar.pop(second, ()):
                if self._holds(row, second):
                    self._due[row.work_unit][row.id] = row
        self._until = max(self._until, now)
