"""The measurements that a run collects while it goes on. Times are in simulated seconds."""

from array import array
from collections.abc import Iterable
from math import inf

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import WorkUnit
from simulation.issuer import BROKEN_PROJECT
from simulation.scenario import Scenario


class Measures:
    """Collects every replaced token; `outcome_of` evaluates it after the run.

    `expired_at`, `replaced_at`, `of_broken_project`: one entry for each token that expired in use.
    `lives_by_minute`: the least remaining life of a replaced token, by minute of the run.
    `drain_order` and `backlog_left`: one entry for each runner of the backlog, as it is refreshed.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.refreshed = 0
        self.expired_at = array("d")
        self.replaced_at = array("d")
        self.of_broken_project = array("b")
        self.lives_by_minute = array("d", [inf]) * (int(scenario.seconds // 60) + 2)
        self.lives_left: list[tuple[float, float]] = []
        self.due_seconds = array("l")
        self.backlog = 0
        self.drained_at = inf
        self.drain_order: list[tuple[WorkUnit, int]] = []
        self.drain_order_of_failed: list[int] = []
        self.backlog_left: list[tuple[float, int]] = []
        self._waiting: dict[str, bool] = {}
        self._scenario = scenario

    def replaced(self, row: RunnerRow, *, due_at: float, now: float) -> None:
        """Record that the token of `row` was replaced by a token that is due at `due_at`."""
        self.refreshed += 1
        expires_at = row.expires_at or 0
        left = expires_at - now
        minute = int(now) // 60
        if row.project != BROKEN_PROJECT:
            self.lives_by_minute[minute] = min(left, self.lives_by_minute[minute])
        if left <= 0:
            self._expired(row, replaced_at=now)
        if self._waiting and row.runner in self._waiting:
            if self._waiting.pop(row.runner):
                self.drain_order_of_failed.append(row.deadline)
            self.drain_order.append((row.work_unit, row.deadline))
            self.backlog_left.append((now, len(self._waiting)))
            self.due_seconds.append(int(due_at))
            if not self._waiting:
                self.drained_at = now

    def outage_ended(self, rows: Iterable[RunnerRow], *, now: float) -> None:
        """Record the backlog: the rows that are due, or that wait for a retry after a failure."""
        self._waiting = {
            row.runner: row.attempts > 0
            for row in rows
            if row.attempts or (row.due_at is not None and row.due_at <= now)
        }
        self.backlog = len(self._waiting)
        self.backlog_left.append((now, self.backlog))

    def ended(self, rows: Iterable[RunnerRow], *, now: float) -> None:
        """Record the tokens that are expired when the run ends."""
        for row in rows:
            if (row.expires_at or 0) <= now:
                self._expired(row, replaced_at=inf)

    def _expired(self, row: RunnerRow, *, replaced_at: float) -> None:
        self.expired_at.append(row.expires_at or 0)
        self.replaced_at.append(replaced_at)
        self.of_broken_project.append(row.project == BROKEN_PROJECT)
