"""One turn of a worker at a unit: the due runners of one project in one shard.

lease → due rows, earliest deadline first → mint once per mint key → put → commit → look again.
Each step may be the last before a crash: the next worker finds the rows still due, and whatever was
put already.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import batched, groupby
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import is_passing
from byline.caching import Clock
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import LEASE_SECONDS
from byline.refresh.work_units import Unit, slot_of, token_secret_name
from byline.tables.writes import Contended
from refresh_tokens.minting.mint import MintedToken
from refresh_tokens.plan import by_deadline, next_slots, postponed, refreshed, retry_at, swept
from refresh_tokens.runner_table import COMMITS_A_CALL, Change, RunnerTable, UnitLeases
from refresh_tokens.token_writer import TokenWriter, UnreadableSecret
from refresh_tokens.work.mints import Postponed, UnitMints
from refresh_tokens.work.sweeper import Sweeper

type Outcome = Literal["done", "unfinished", "held"]

SWEEP_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Whom a turn tells what became of a runner, and of a mint that failed, with its class."""

    runner_refreshed: Callable[[RunnerRow], None]
    runner_postponed: Callable[[RunnerRow, str], None]
    mint_failed: Callable[[RunnerRow, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRefresher:
    """Refreshes units, with everything that it needs for it. Puts run on `threads`."""

    runners: RunnerTable
    writer: TokenWriter
    sweeper: Sweeper
    mints: UnitMints
    leases: UnitLeases
    threads: Executor
    report: Report
    now: Clock
    random: Callable[[], float]

    def refresh(
        self, unit: Unit, *, up_to: int | None, due_by: int | None = None, until: float
    ) -> Outcome:
        """Refresh what is due of `unit`, until nothing is or the time `until` has come.

        `up_to`: the latest deadline that is meant, None for all. A first token always is. `due_by`:
        when they were due at the latest, None for now. "held":
        another worker is at it, and looks again before it leaves. "unfinished": rows are still due.
        Raises `ClientError`, `BotoCoreError` and `Contended` where the table cannot be used.
        """
        while self._hold(unit):
            try:
                left = self._refresh_due(unit, up_to=up_to, due_by=due_by, until=until)
            finally:
                self.leases.release(unit)
            if left in {"unfinished", "held"}:
                return left
            # Whoever found the lease held has left its work to us, so look once more without it. Of
            # that the first tokens cannot wait; other deadlines are the next tick's.
            if left == "stuck" or not self._due(unit, up_to=up_to, due_by=due_by):
                return "done"
        return "held"

    def _hold(self, unit: Unit) -> bool:
        now = self.now()
        return self.leases.take(unit, now=now, until=now + LEASE_SECONDS)

    def _due(self, unit: Unit, *, up_to: int | None, due_by: int | None) -> list[RunnerRow]:
        now = int(self.now())
        by = now if due_by is None else min(due_by, now)
        return self.runners.due(unit, up_to=up_to, now=by)

    def _refresh_due(
        self, unit: Unit, *, up_to: int | None, due_by: int | None, until: float
    ) -> Literal["nothing", "unfinished", "stuck", "held"]:
        """Once through what is due. "stuck": no row could be moved, so trying at once is no use."""
        held_since, moved = self.now(), 0
        rows = by_deadline(self._due(unit, up_to=up_to, due_by=due_by))
        # Apart, because nobody's new token is to wait for somebody's sweep.
        for _, alike in groupby(rows, key=lambda row: row.is_live):
            for batch in batched(alike, COMMITS_A_CALL, strict=False):
                if self.now() > held_since + LEASE_SECONDS / 3:
                    held_since = self.now()
                    if not self._hold(unit):
                        return "held"  # this worker stood still, and was given up
                moved += self._refresh_batch(batch, until=until)
                if self.now() >= until:
                    return "unfinished"
        return "nothing" if moved or not rows else "stuck"

    def _refresh_batch(self, rows: Sequence[RunnerRow], *, until: float) -> int:
        """Refresh, postpone or sweep the rows; how many of them were moved on."""
        changes: list[Change] = []
        minted: list[tuple[RunnerRow, MintedToken]] = []
        for row in rows:
            if self.now() >= until:
                break  # others' servers may take seconds for each
            if not row.is_live:
                changes.append((row, self._swept(row)))
                continue
            try:
                minted.append((row, self.mints.token_for(row)))
            except Postponed as failure:
                if failure.asked:
                    self.report.mint_failed(row, failure.error_class)
                changes.append((row, self._postponed(row, failure.error_class, failure.until)))
        changes += self.threads.map(self._put, minted)
        stale = self.runners.commit(changes)
        for before, after in changes:
            if before not in stale:
                self._tell(before, after)
        self._mend_all([row for row, _ in minted if row in stale])
        return len(changes) - len(stale)

    def _put(self, work: tuple[RunnerRow, MintedToken]) -> Change:
        row, token = work
        slots = next_slots(row, token.lifetime)
        slot = slot_of(row.generation + 1, slots=slots)
        name = token_secret_name(row.project, row.runner, slot)
        write = self.writer.write_first if row.slot is None else self.writer.write
        try:
            written = write(name, token, generation=row.generation + 1)
        except (ClientError, BotoCoreError, UnreadableSecret) as error:
            passing = not isinstance(error, UnreadableSecret) and is_passing(error)
            until = retry_at(
                attempts=row.attempts + 1,
                retry_after=None,
                deadline=row.deadline,
                now=int(self.now()),
                random=self.random,
            )
            error_class = "store_throttled" if passing else "store_refused"
            return row, self._postponed(row, error_class, until)
        return row, refreshed(
            row,
            slot=slot,
            slots=slots,
            issued_at=int(written.issued_at.timestamp()),
            expires_at=int(written.expires_at.timestamp()),
            now=int(self.now()),
        )

    def _postponed(self, row: RunnerRow, error_class: str, until: int) -> RunnerRow:
        return postponed(row, error_class=error_class, until=until, now=int(self.now()))

    def _swept(self, row: RunnerRow) -> RunnerRow:
        try:
            self.sweeper.sweep(row)
        except (ClientError, BotoCoreError, Contended):
            return replace(row, due_at=int(self.now()) + SWEEP_RETRY_SECONDS)
        return swept(row, now=int(self.now()))

    def _tell(self, before: RunnerRow, after: RunnerRow) -> None:
        if after.generation != before.generation:
            self.report.runner_refreshed(after)
        elif after.last_error is not None and before.is_live:
            self.report.runner_postponed(after, after.last_error.error_class)

    def _mend_all(self, rows: Sequence[RunnerRow]) -> None:
        """Mend each of `rows`. Raises the first error after all others were mended."""
        failures: list[Exception] = []
        for row in rows:
            try:
                self._mend(row)
            except (ClientError, BotoCoreError, Contended) as failure:
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
