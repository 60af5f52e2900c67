"""Working off all rows that wait: what failed, what no event told of, what had to settle first."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import batched, chain

from botocore.exceptions import BotoCoreError, ClientError

from byline.caching import Clock
from register_resources.pending_rows import RunKey, Waiting
from register_resources.registrar import Result

AT_ONCE = 8
"""Runs that are settled beside each other."""

MOST_A_PASS = 20_000
"""Rows that one pass takes on, in memory; the others are counted, and are the next pass's."""

FAILURES_IN_A_ROW = 2 * AT_ONCE
"""With so many and no success between them the service is down, and asking on for all that waits is
of no use to anybody."""

type Ended = Result | ClientError | BotoCoreError
"""What became of a run; an error where the store did not play along."""

SETTLED: frozenset[Ended] = frozenset({"registered", "deregistered", "nothing"})


class Backlog:
    """All rows that wait, counted while they are read; `due` are those that a pass takes on.

    `pending` and `refused` go down as rows are settled, so that in the end they tell what is left.
    """

    def __init__(self) -> None:
        self.pending = 0
        self.refused = 0
        self.due: list[Waiting] = []
        self.oldest_left: str | None = None
        """Since when the oldest that is left has waited, RFC 3339."""

    def see(self, rows: Iterable[Waiting], *, is_due: Callable[[Waiting], bool]) -> None:
        """Count `rows`; those that are due are taken on, while there is room."""
        for row in rows:
            self.pending += 1
            self.refused += row.is_refused
            if is_due(row) and len(self.due) < MOST_A_PASS:
                self.due.append(row)
            else:
                self._leave(row)

    def work_off(
        self, *, settle: Callable[[RunKey], Ended], threads: Executor, now: Clock, until: float
    ) -> Iterator[Ended]:
        """Settle what is due until time is over or the service seems down.

        The order is the caller's: by age, a few that always fail would be the first of every pass,
        and those behind them would never have their turn.
        """
        failures = 0
        waiting = iter(batched(self.due, AT_ONCE, strict=False))
        for some in waiting:
            if now() >= until or failures >= FAILURES_IN_A_ROW:
                for row in chain(some, *waiting):
                    self._leave(row)
                return
            ends = threads.map(settle, [row.key for row in some])
            for row, ended in zip(some, ends, strict=True):
                failures = failures + 1 if ended == "failed" else 0
                if ended in SETTLED:
                    self.pending -= 1
                    self.refused -= row.is_refused
                else:
                    self._leave(row)
                yield ended

    def _leave(self, row: Waiting) -> None:
        self.oldest_left = min(self.oldest_left or row.since, row.since)
