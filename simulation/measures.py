"""What is kept of a simulated run while it goes on. Times in seconds."""

from array import array
from collections.abc import Iterable
from math import inf
from typing import Protocol

from byline.refresh.work_units import WorkUnit
from simulation.issuer import BROKEN_PROJECT
from simulation.scenario import Scenario


class Refreshed(Protocol):
    """What a refresh tells of the token that it replaced."""

    @property
    def project(self) -> str: ...
    @property
    def runner(self) -> str: ...
    @property
    def work_unit(self) -> WorkUnit: ...
    @property
    def expires_at(self) -> int | None: ...
    @property
    def deadline(self) -> int: ...
    @property
    def due_at(self) -> int | None: ...
    @property
    def attempts(self) -> int: ...


class Measures:
    """Told of every refresh; asked when all is over."""

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

    def replaced(self, row: Refreshed, *, due_at: float, now: float) -> None:
        """The token of `row` was replaced by one that is due at `due_at`."""
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

    def outage_ended(self, rows: Iterable[Refreshed], *, now: float) -> None:
        """From now on these rows are what is to be drained: due, or postponed after a failure."""
        self._waiting = {
            row.runner: row.attempts > 0
            for row in rows
            if row.attempts or (row.due_at is not None and row.due_at <= now)
        }
        self.backlog = len(self._waiting)
        self.backlog_left.append((now, self.backlog))

    def ended(self, rows: Iterable[Refreshed], *, now: float) -> None:
        """What is expired at the end counts as well."""
        for row in rows:
            if (row.expires_at or 0) <= now:
                self._expired(row, replaced_at=inf)

    def _expired(self, row: Refreshed, *, replaced_at: float) -> None:
        self.expired_at.append(row.expires_at or 0)
        self.replaced_at.append(replaced_at)
        self.of_broken_project.append(row.project == BROKEN_PROJECT)
