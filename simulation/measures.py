"""The measurements that a run collects while it goes on. Times are in simulated seconds."""

from array import array
from collections.abc import Iterable
from math import inf

from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import WorkUnit
from simulation.issuer import BROKEN_PROJECT
from simulation.scenario import Scenario


class Ends:
    """Times at which something ended, and at which that was mended; `inf` for never.

    `of_broken_project`: 1 where the token is of the project whose secret was wrong. `runners`: how
    many pointed to the token.
    """

    def __init__(self) -> None:
        self.at = array("d")
        self.mended_at = array("d")
        self.of_broken_project = array("b")
        self.runners = array("l")

    def add(self, row: TokenRow, at: float, *, mended_at: float, runners: int) -> None:
        """Add one for the token of `row`."""
        self.at.append(at)
        self.mended_at.append(mended_at)
        self.of_broken_project.append(row.project == BROKEN_PROJECT)
        self.runners.append(runners)


class Measures:
    """Collects every replaced token; `outcome_of` evaluates it after the run.

    `runners`: how many point to each token now, by the number in the token's id.
    `expired`: tokens that expired in use. `waits`: from registrations that needed a new token to
    that token. `sweeps`: the longest time from a token's last runner to the end of its sweep.
    `lives_by_minute`: the least remaining life of a replaced token, by minute of the run.
    `drain_order` and `backlog_left`: one entry for each token of the backlog, as it is refreshed.
    """

    def __init__(self, scenario: Scenario, runners: "array[int]") -> None:
        self.refreshed = 0
        self.registered = 0
        self.expired = Ends()
        self.waits = Ends()
        self.longest_sweep = 0.0
        self.lives_by_minute = array("d", [inf]) * (int(scenario.seconds // 60) + 2)
        self.due_seconds = array("l")
        self.backlog = 0
        self.drained_at = inf
        self.drain_order: list[tuple[WorkUnit, int]] = []
        self.drain_order_of_failed: list[int] = []
        self.backlog_left: list[tuple[float, int]] = []
        self._waiting: dict[str, bool] = {}
        self._runners = runners
        self._scenario = scenario

    def replaced(self, row: TokenRow, *, due_at: float, now: float) -> None:
        """Record that the token of `row` was replaced by a token that is due at `due_at`."""
        self.refreshed += 1
        if row.expires_at is None:
            self._add(self.waits, row, row.deadline, mended_at=now)
            return
        left = row.expires_at - now
        minute = int(now) // 60
        if row.project != BROKEN_PROJECT:
            self.lives_by_minute[minute] = min(left, self.lives_by_minute[minute])
        if left <= 0:
            self._add(self.expired, row, row.expires_at, mended_at=now)
        if self._waiting and row.id in self._waiting:
            if self._waiting.pop(row.id):
                self.drain_order_of_failed.append(row.deadline)
            self.drain_order.append((row.work_unit, row.deadline))
            self.due_seconds.append(int(due_at))
            self._one_less(now)

    def retired(self, row: TokenRow, *, now: float) -> None:
        """Record that the last runner of a token went."""
        if row.expires_at is not None and row.expires_at <= now:
            self._add(self.expired, row, row.expires_at, mended_at=now)
        if self._waiting.pop(row.id, None) is not None:
            self._one_less(now)

    def swept(self, row: TokenRow, *, now: float) -> None:
        """Record that nothing is left to do for a retired token: its secrets are deleted."""
        self.longest_sweep = max(self.longest_sweep, now - (row.retired_at or 0))

    def outage_ended(self, rows: Iterable[TokenRow], *, now: float) -> None:
        """Record the backlog: the tokens that are due, or that wait for a retry after a failure."""
        self._waiting = {
            row.id: row.attempts > 0
            for row in rows
            if row.is_live
            and row.expires_at is not None
            and (row.attempts or (row.due_at is not None and row.due_at <= now))
        }
        self.backlog = len(self._waiting)
        self.backlog_left.append((now, self.backlog))

    def ended(self, rows: Iterable[TokenRow], *, now: float) -> None:
        """Record the tokens that are expired, missing or not swept when the run ends."""
        for row in rows:
            if not row.is_live:
                self.swept(row, now=now)
            elif row.expires_at is None:
                self._add(self.waits, row, row.deadline, mended_at=now)
            elif row.expires_at <= now:
                self._add(self.expired, row, row.expires_at, mended_at=inf)

    def _one_less(self, now: float) -> None:
        self.backlog_left.append((now, len(self._waiting)))
        if not self._waiting:
            self.drained_at = now

    def _add(self, ends: Ends, row: TokenRow, at: float, *, mended_at: float) -> None:
        number = int(row.id.partition(".")[0])
        # A token that its last runner just left has none.
        ends.add(row, at, mended_at=mended_at, runners=max(1, self._runners[number]))
