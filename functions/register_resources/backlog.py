"""The backlog of one pass: all pending registrations that the index lists, counted and settled."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import batched, chain

from botocore.exceptions import BotoCoreError, ClientError

from byline.caching import Clock
from byline.tables.rows import Contended
from register_resources.pending import IndexEntry, RunKey
from register_resources.registrar import Result

CONCURRENCY = 8
"""Runs that are settled at the same time."""

MAX_DUE = 20_000
"""Runs that one pass settles, because they are kept in memory. It counts the others."""

MAX_FAILURES = 2 * CONCURRENCY
"""After this many failures without a success between them, the service is taken to be down, and the
pass ends."""

type Ended = Result | ClientError | BotoCoreError | Contended
"""The result for a run, or the error of the table."""

SETTLED: frozenset[Ended] = frozenset({"registered", "deregistered", "revoked", "nothing"})


class Backlog:
    """The pending registrations of a pass. `due` lists those that the pass is to settle.

    `pending`, `refused` and `revocations` count what is left. `settle_due` lowers them.
    """

    def __init__(self) -> None:
        self.pending = 0
        self.refused = 0
        self.revocations = 0
        self.due: list[IndexEntry] = []
        self.oldest_left: str | None = None
        """The time since when the oldest registration that is left is pending, RFC 3339."""

    def add(self, entries: Iterable[IndexEntry], *, is_due: Callable[[IndexEntry], bool]) -> None:
        """Count `entries`, and keep those that are due, up to `MAX_DUE`."""
        for entry in entries:
            self.pending += 1
            self.refused += entry.is_refused
            self.revocations += entry.key.is_revocation
            if is_due(entry) and len(self.due) < MAX_DUE:
                self.due.append(entry)
            else:
                self._leave(entry)

    def settle_due(
        self, *, settle: Callable[[RunKey], Ended], threads: Executor, now: Clock, until: float
    ) -> Iterator[Ended]:
        """Settle what is due, until time is over or the service seems to be down.

        The caller decides the order of `due`. By age, a few runs that always fail would come first
        in every pass, and the runs behind them would never be settled.
        """
        failures = 0
        batches = iter(batched(self.due, CONCURRENCY, strict=False))
        for batch in batches:
            if now() >= until or failures >= MAX_FAILURES:
                for entry in chain(batch, *batches):
                    self._leave(entry)
                return
            results = threads.map(settle, [entry.key for entry in batch])
            for entry, result in zip(batch, results, strict=True):
                failures = failures + 1 if result == "failed" else 0
                if result in SETTLED:
                    self.pending -= 1
                    self.refused -= entry.is_refused
                    self.revocations -= entry.key.is_revocation
                else:
                    self._leave(entry)
                yield result

    def _leave(self, entry: IndexEntry) -> None:
        self.oldest_left = min(self.oldest_left or entry.since, entry.since)
