"""Refreshing the due runners of a work unit in one time slice.

lease → due rows, earliest deadline first → one mint per mint key → write → commit → look again. A
crash may follow any step: the next worker finds the rows still due, and the tokens that were
written.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import batched, groupby
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import is_passing
from byline.caching import Clock
from byline.refresh.runner_rows import RunnerRow, UnreadableRow
from byline.refresh.timing import LEASE_SECONDS, MintedToken, by_deadline
from byline.refresh.work_units import UnreadableSecret, WorkUnit
from byline.tables.rows import Contended
from refresh_tokens.errors import ErrorClass, RetryLater
from refresh_tokens.retries import back_off_until
from refresh_tokens.row_changes import life_of, retried_later
from refresh_tokens.runner_table import COMMITS_A_CALL, Change, RunnerTable, WorkUnitLeases
from refresh_tokens.shared_mints import SharedMints
from refresh_tokens.sweeper import Sweeper
from refresh_tokens.time_slices import SliceOutcome
from refresh_tokens.token_writer import TokenWriter

SWEEP_RETRY_SECONDS = 60

_TABLE_ERRORS = (ClientError, BotoCoreError, Contended)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshReport:
    """The callbacks for each runner that was refreshed or failed, and for each failed mint.

    The text is the error's class. `unexpected_error` gets errors that no part of the refresher
    knows; their messages may hold a secret.
    """

    runner_refreshed: Callable[[RunnerRow], None]
    runner_failed: Callable[[RunnerRow, str], None]
    mint_failed: Callable[[RunnerRow, str], None]
    unexpected_error: Callable[[RunnerRow, Exception], None]
    sweep_failed: Callable[[RunnerRow, Exception], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresher:
    """Refreshes work units in one invocation. Secrets are written on `threads`."""

    runners: RunnerTable
    writer: TokenWriter
    sweeper: Sweeper
    mints: SharedMints
    leases: WorkUnitLeases
    threads: Executor
    report: RefreshReport
    now: Clock
    random: Callable[[], float]

    def refresh(
        self, work_unit: WorkUnit, *, up_to: int | None, due_by: int | None = None, until: float
    ) -> SliceOutcome:
        """Refresh the due runners of `work_unit` until none is left or the time `until` has come.

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
            # without the lease. First tokens cannot wait; other deadlines are the next tick's.
            if left == "stuck" or not self._due(work_unit, up_to=up_to, due_by=due_by):
                return "done"
        return "held"

    def _hold(self, work_unit: WorkUnit) -> bool:
        now = self.now()
        return self.leases.take(work_unit, now=now, until=now + LEASE_SECONDS)

    def _due(
        self, work_unit: WorkUnit, *, up_to: int | None, due_by: int | None
    ) -> list[RunnerRow]:
        now = int(self.now())
        by = now if due_by is None else min(due_by, now)
        return self.runners.due(work_unit, up_to=up_to, now=by)

    def _refresh_due(
        self, work_unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> Literal["nothing", "unfinished", "stuck", "held"]:
        """Go through the due rows once. "stuck": no row could be moved on, so do not try again."""
        held_since, moved = self.now(), 0
        rows = by_deadline(self._due(work_unit, up_to=up_to, due_by=due_by))
        # Live and deleted runners apart, because no new token may wait for a sweep.
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

    def _refresh_batch(self, rows: Sequence[RunnerRow], *, until: float) -> int:
        """Refresh or sweep the rows; how many of them were moved on."""
        changes: list[Change] = []
        minted: list[tuple[RunnerRow, MintedToken]] = []
        for row in rows:
            if self.now() >= until:
                break  # an issuer may take seconds for each mint
            if not row.is_live:
                changes.append((row, self._swept(row)))
                continue
            try:
                minted.append((row, self.mints.token_for(row)))
            except RetryLater as failure:
                if failure.asked:
                    self.report.mint_failed(row, failure.error_class)
                if failure.asked and isinstance(failure.__cause__, Exception):
                    self.report.unexpected_error(row, failure.__cause__)
                changes.append((row, self._failed(row, failure.error_class, failure.until)))
        changes += self.threads.map(self._write, minted)
        stale = self.runners.commit(changes)
        for before, after in changes:
            if before not in stale:
                self._report(before, after)
        self._mend_all([row for row, _ in minted if row in stale])
        return len(changes) - len(stale)

    def _write(self, work: tuple[RunnerRow, MintedToken]) -> Change:
        row, token = work
        try:
            return row, self.writer.write_next(row, token, now=self.now)
        except Exception as error:
            error_class = _class_of(error)
            if error_class == "unexpected_error":
                self.report.unexpected_error(row, error)
            return row, self._failed(row, error_class)

    def _failed(
        self, row: RunnerRow, error_class: ErrorClass | str, until: int | None = None
    ) -> RunnerRow:
        """The row after a failure: due at `until`, or after a back-off."""
        now = int(self.now())
        if until is None:
            until = back_off_until(life_of(row), now=now, random=self.random)
        return retried_later(row, error_class=error_class, until=until, now=now)

    def _swept(self, row: RunnerRow) -> RunnerRow:
        try:
            return self.sweeper.sweep(row)
        except Exception as error:
            self.report.sweep_failed(row, error)
            until = int(self.now()) + SWEEP_RETRY_SECONDS
            # Its row must not vanish while its secrets exist. Earlier versions set an end of life.
            return replace(self._failed(row, _class_of(error), until), ttl=None)

    def _report(self, before: RunnerRow, after: RunnerRow) -> None:
        if after.generation != before.generation:
            self.report.runner_refreshed(after)
        elif after.last_error is not None and before.is_live:
            self.report.runner_failed(after, after.last_error.error_class)

    def _mend_all(self, rows: Sequence[RunnerRow]) -> None:
        """Mend each of `rows`. Raises the first error after all others were mended."""
        failures: list[Exception] = []
        for row in rows:
            try:
                self._mend(row)
            except _TABLE_ERRORS as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    def _mend(self, row: RunnerRow) -> None:
        """Undo the write for `row` where its commit was refused.

        Only an absent row means that the runner was deleted. A row that cannot be read may be the
        registered runner's, whose token is in use.
        """
        found = self.runners.registered(row)
        if found == "absent":
            self.sweeper.discard(row)
        elif found != "unreadable" and (
            found.revision != row.revision or found.generation > row.generation + 1
        ):
            # This worker's token may stand over a newer one, or over another registration's.
            self.runners.make_due_now(found, now=int(self.now()))


def _class_of(error: Exception) -> ErrorClass:
    """The class of an error of AWS, of a secret or a row with another form, or of any other one."""
    if isinstance(error, (ClientError, BotoCoreError)):
        return "store_throttled" if is_passing(error) else "store_refused"
    if isinstance(error, Contended):
        return "store_throttled"
    known = isinstance(error, (UnreadableSecret, UnreadableRow))
    return "store_refused" if known else "unexpected_error"
