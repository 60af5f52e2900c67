"""One turn of a worker at a unit: the due runners of one project in one shard.

lease → due rows, earliest deadline first → mint once per mint key → put → commit → look again.
Each step may be the last before a crash: the next worker finds the rows still due, and whatever was
put already.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from itertools import batched
from typing import Literal

from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import is_passing
from byline.caching import Clock
from byline.refresh_timing import MIN_LIFETIME_SECONDS, slots_for
from byline.refresh_units import Unit, slot_of, token_secret_name
from byline.runner_rows import RunnerRow
from byline.unverified import UnverifiedToken
from client_store import ClientStore
from mint import Mint, MintedToken
from refresh_errors import RefreshFailed
from refresh_plan import by_deadline, next_slots, postponed, refreshed, retry_at, swept
from runner_table import COMMITS_A_CALL, RunnerTable
from token_writer import TokenWriter, UnreadableSecret
from unit_lease import UnitLeases
from unit_mints import Postponed, UnitMints

type Outcome = Literal["done", "unfinished", "held"]

type Change = tuple[RunnerRow, RunnerRow]

MOST_SLOTS = slots_for(MIN_LIFETIME_SECONDS)
"""How many secrets a runner can have had, also one whose row does not tell."""

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
    mint: Mint
    clients: ClientStore
    new_mints: Callable[[], UnitMints]
    leases: UnitLeases
    threads: Executor
    report: Report
    now: Clock
    random: Callable[[], float]

    def refresh(self, unit: Unit, *, until: float, lease_until: float) -> Outcome:
        """Refresh what is due of `unit`, until nothing is or the time `until` has come.

        "held": another worker is at it, and looks again before it leaves. "unfinished": rows are
        still due. Raises `ClientError` and `BotoCoreError` where the table cannot be used.
        """
        if not self.leases.take(unit, now=self.now(), until=lease_until):
            return "held"
        try:
            finished = self._drain(unit, until)
        finally:
            self.leases.release(unit)
        # Whoever found the lease held has left its work to us, so look once more without it.
        if finished and self.runners.due(unit, now=int(self.now())):
            finished = False
        return "done" if finished else "unfinished"

    def _drain(self, unit: Unit, until: float) -> bool:
        mints = self.new_mints()
        while rows := by_deadline(self.runners.due(unit, now=int(self.now()))):
            for batch in batched(rows, COMMITS_A_CALL, strict=False):
                if self.now() >= until:
                    return False
                self._refresh_batch(batch, mints)
        return True

    def _refresh_batch(self, rows: Sequence[RunnerRow], mints: UnitMints) -> None:
        changes: list[Change] = []
        minted: list[tuple[RunnerRow, MintedToken]] = []
        for row in rows:
            if not row.is_live:
                changes.append((row, self._sweep(row)))
                continue
            try:
                minted.append((row, mints.token_for(row)))
            except Postponed as failure:
                if failure.asked:
                    self.report.mint_failed(row, failure.error_class)
                changes.append((row, self._postponed(row, failure.error_class, failure.until)))
        changes += self.threads.map(self._put, minted)
        for before, after in changes:
            self._tell(before, after)
        put = {row.runner for row, _ in minted}
        for row in self.runners.commit(changes):
            if row.runner in put and row.is_live:
                self._mend(row)

    def _put(self, work: tuple[RunnerRow, MintedToken]) -> Change:
        row, token = work
        slots = next_slots(row, token.lifetime)
        slot = slot_of(row.generation + 1, slots=slots)
        name = token_secret_name(row.project, row.runner, slot)
        try:
            written = self.writer.write(name, token, generation=row.generation + 1)
        except (ClientError, BotoCoreError, UnreadableSecret) as error:
            passing = not isinstance(error, UnreadableSecret) and is_passing(error)
            now = int(self.now())
            until = retry_at(
                attempts=row.attempts + 1,
                retry_after=None,
                deadline=row.deadline,
                now=now,
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

    def _tell(self, before: RunnerRow, after: RunnerRow) -> None:
        if after.generation != before.generation:
            self.report.runner_refreshed(after)
        elif after.last_error is not None and before.is_live:
            self.report.runner_postponed(after, after.last_error.error_class)

    def _postponed(self, row: RunnerRow, error_class: str, until: int) -> RunnerRow:
        return postponed(row, error_class=error_class, until=until, now=int(self.now()))

    def _sweep(self, row: RunnerRow) -> RunnerRow:
        """Delete a deleted runner's secrets, and revoke its token where it was nobody else's."""
        now = int(self.now())
        try:
            self._revoke(row)
            self._discard_secrets(row)
        except (ClientError, BotoCoreError, UnreadableSecret):
            return replace(row, due_at=now + SWEEP_RETRY_SECONDS)
        return swept(row, now=now)

    def _revoke(self, row: RunnerRow) -> None:
        if row.slot is None or self.runners.is_shared(row.mint_key, beside=row):
            return
        current = self.writer.current(token_secret_name(row.project, row.runner, row.slot))
        if current is None or current.generation > row.generation + 1:
            return
        try:
            client = self.clients.get(row.project, row.client).secret
        except RefreshFailed:
            return  # without its client nobody can revoke; the token dies within its minutes
        if not isinstance(client, RefreshFailed):
            self.mint.revoke(UnverifiedToken(current.token), client)

    def _discard_secrets(self, row: RunnerRow) -> None:
        names = (token_secret_name(row.project, row.runner, slot) for slot in range(MOST_SLOTS))
        # A worker that was under way when the runner was deleted may have put one more; what is
        # newer belongs to a runner that was registered under the name since.
        discard = partial(self.writer.discard_up_to, generation=row.generation + 1)
        for _ in self.threads.map(discard, names):
            pass

    def _mend(self, row: RunnerRow) -> None:
        """What was put for `row` did not count, because the row is not what it was."""
        registered = self.runners.registered(row)
        if registered is None:
            self._discard_secrets(row)
        elif registered.revision != row.revision:
            # Registered anew while we were at it: our token may stand over the new one.
            self.runners.commit([(registered, replace(registered, due_at=int(self.now())))])
