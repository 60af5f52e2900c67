"""Refreshing the due tokens of work units, in time slices until all are done or time is over.

lease → due rows, earliest deadline first → mint → write → commit → look again. A crash may follow
any step: the next worker finds the rows still due, and the generations that were written.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import batched, groupby
from threading import Lock
from typing import Literal

from byline.caching import Clock
from byline.refresh.timing import LEASE_SECONDS, MintedToken, by_deadline, is_due_soon
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import WorkUnit
from refresh_tokens.clients import ClientMints
from refresh_tokens.errors import RefreshFailed, RetryLater, failure_of_call
from refresh_tokens.retries import back_off_until, life_of, retried_later
from refresh_tokens.sweeper import Sweeper
from refresh_tokens.token_table import (
    COMMITS_A_CALL,
    Change,
    TokenTable,
    WorkUnitLeases,
)
from refresh_tokens.token_writer import TokenWriter

SWEEP_RETRY_SECONDS = 60

UNITS_AT_ONCE = 10
"""A work unit mostly waits for its issuer and for AWS, so several are refreshed side by side."""

SHORTEST_SLICE_SECONDS = 5

type SliceOutcome = Literal["done", "unfinished", "held"]
"""How a time slice ended. "held": another worker has the lease, and looks again before it releases
it. "unfinished": rows are still due."""


@dataclass(frozen=True, slots=True)
class DueSoonUnit:
    """A work unit with tokens that are due before the next tick may find them.

    They are due from `due_at` on, and their deadlines are not later than `deadline`; both are
    seconds since the epoch.
    """

    work_unit: WorkUnit
    due_at: int
    deadline: int


class DueSoonUnits:
    """Collects the tokens that are due before the next tick. For several threads."""

    def __init__(self, *, now: Clock) -> None:
        self._now = now
        self._units: dict[WorkUnit, DueSoonUnit] = {}
        self._lock = Lock()

    def note(self, row: TokenRow) -> None:
        """Add a token that was refreshed or that failed, if it is due soon."""
        if row.try_at is None or not is_due_soon(row, now=int(self._now())):
            return
        unit = row.work_unit
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshReport:
    """The callbacks for each token that was refreshed or failed, and for each failed mint.

    They get the row afterwards, which says why it failed. `unexpected_error` gets errors that no
    part of the refresher knows; their messages may hold a secret.
    """

    token_refreshed: Callable[[TokenRow], None]
    token_failed: Callable[[TokenRow], None]
    mint_failed: Callable[[TokenRow], None]
    unexpected_error: Callable[[TokenRow, Exception], None]
    sweep_failed: Callable[[TokenRow, Exception], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresher:
    """Refreshes work units in one invocation. Tokens are minted and written on `threads`."""

    tokens: TokenTable
    writer: TokenWriter
    sweeper: Sweeper
    mints: ClientMints
    leases: WorkUnitLeases
    threads: Executor
    report: RefreshReport
    now: Clock
    random: Callable[[], float]

    def refresh(
        self, work_unit: WorkUnit, *, up_to: int | None, due_by: int | None = None, until: float
    ) -> SliceOutcome:
        """Refresh the due tokens of `work_unit` until none is left or the time `until` has come.

        `up_to`: the latest deadline that is meant; None for all. `due_by`: when they were due; None
        for now. Raises `ClientError`, `BotoCoreError` and `Contended` where the table fails.
        """
        while self._hold(work_unit):
            try:
                left = self._refresh_due(work_unit, up_to=up_to, due_by=due_by, until=until)
            finally:
                self.leases.release(work_unit)
            if left in {"unfinished", "held"}:
                return left
            # A worker that found the lease held has left its work to this one, so look once more
            # without the lease. First generations cannot wait; other deadlines are the next tick's.
            if left == "stuck" or not self._due(work_unit, up_to=up_to, due_by=due_by):
                return "done"
        return "held"

    def _hold(self, work_unit: WorkUnit) -> bool:
        now = self.now()
        return self.leases.take(work_unit, now=now, until=now + LEASE_SECONDS)

    def _due(self, work_unit: WorkUnit, *, up_to: int | None, due_by: int | None) -> list[TokenRow]:
        now = int(self.now())
        by = now if due_by is None else min(due_by, now)
        return self.tokens.due(work_unit, up_to=up_to, now=by)

    def _refresh_due(
        self, work_unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> Literal["nothing", "unfinished", "stuck", "held"]:
        """Go through the due rows once. "stuck": no row could be moved on, so do not try again."""
        held_since, moved = self.now(), 0
        rows = by_deadline(self._due(work_unit, up_to=up_to, due_by=due_by))
        # Live and retired tokens apart, because no mint may wait for a sweep.
        for _, alike in groupby(rows, key=lambda row: row.is_live):
            for batch in batched(alike, COMMITS_A_CALL, strict=False):
                if self.now() > held_since + LEASE_SECONDS / 3:
                    held_since = self.now()
                    if not self._hold(work_unit):
                        return "held"  # this worker stood still, and another one took the lease
                moved += self._refresh_batch(batch, until=until)
                if self.now() >= until:
                    return "unfinished"
        return "nothing" if moved or not rows else "stuck"

    def _refresh_batch(self, rows: Sequence[TokenRow], *, until: float) -> int:
        """Refresh or sweep the rows; how many of them were moved on."""
        changes = [(row, self._swept(row)) for row in rows if not row.is_live]
        live = [row for row in rows if row.is_live]
        written: list[Change] = []
        for row, outcome in self.mints.for_each(
            live, self._write, threads=self.threads, until=until
        ):
            if not isinstance(outcome, RetryLater):
                written.append((row, outcome))
                continue
            failed = self._failed(row, outcome, outcome.until)
            if outcome.asked:
                self.report.mint_failed(failed)
            if outcome.asked and isinstance(outcome.__cause__, Exception):
                self.report.unexpected_error(row, outcome.__cause__)
            changes.append((row, failed))
        changes += written
        stale = self.tokens.commit(changes)
        for before, after in changes:
            if before not in stale:
                self._report(before, after)
        overtaken = [(before, after) for before, after in written if before in stale]
        moved = len(changes) - len(stale)
        return moved + self.sweeper.mend(overtaken) if overtaken else moved

    def _write(self, row: TokenRow, token: MintedToken) -> TokenRow:
        try:
            return self.writer.write_next(row, token, now=self.now)
        except Exception as error:
            reason = failure_of_call(error, call="write the token's secret")
            if reason.error_class == "unexpected_error":
                self.report.unexpected_error(row, error)
            until = back_off_until(life_of(row), now=int(self.now()), random=self.random)
            return self._failed(row, reason, until)

    def _failed(self, row: TokenRow, reason: RefreshFailed | RetryLater, until: int) -> TokenRow:
        return retried_later(
            row,
            error_class=reason.error_class,
            detail=reason.detail,
            until=until,
            now=int(self.now()),
        )

    def _swept(self, row: TokenRow) -> TokenRow:
        try:
            return self.sweeper.sweep(row)
        except Exception as error:
            self.report.sweep_failed(row, error)
            reason = failure_of_call(error, call="delete the token's secrets")
            return self._failed(row, reason, int(self.now()) + SWEEP_RETRY_SECONDS)

    def _report(self, before: TokenRow, after: TokenRow) -> None:
        if after.generation != before.generation:
            self.report.token_refreshed(after)
        elif after.last_error is not None and before.is_live:
            self.report.token_failed(after)


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
    thousands of tokens does not delay them. `refresh` gets a work unit and the end of its slice,
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
