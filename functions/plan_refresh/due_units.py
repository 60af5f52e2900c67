"""Which units of work are due, in which order, and how the tokens of all runners are doing.

Pure: rows in, decisions out. `make simulate` runs this very code on simulated time.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from byline.refresh_timing import MARGIN_SECONDS, required_margin
from byline.refresh_units import Unit
from byline.runner_rows import RunnerRow

READERS_SECONDS = 90
"""Of the margin what a reader counts on: its cache (60) and clocks that differ (30). The rest of it
is meant to be spent between falling due and being replaced, so every tick sees such tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueUnit:
    """A unit with due runners; `deadline` is the earliest of theirs, seconds since the epoch."""

    unit: Unit
    deadline: int
    runners: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How all runners' tokens are doing at one moment, in seconds and numbers of runners.

    Told from the rows alone and not by the refresher, which may be what is broken. `least_life` is
    None where no runner has a token. `within_margin`: tokens that live, and less long than their
    readers count on.
    """

    oldest_due_age: int
    least_life: int | None
    within_margin: int
    expired: int
    waiting_for_first: int
    most_writes_per_secret: int
    due_units: int


def due_units(rows: Iterable[RunnerRow]) -> list[DueUnit]:
    """The units of `rows`, which are due, the most urgent first."""
    units: dict[Unit, tuple[int, int]] = {}
    for row in rows:
        unit = _unit(row)
        deadline, runners = units.get(unit, (row.deadline, 0))
        units[unit] = (min(deadline, row.deadline), runners + 1)
    return sorted(
        (
            DueUnit(unit=unit, deadline=deadline, runners=runners)
            for unit, (deadline, runners) in units.items()
        ),
        key=lambda due: (due.deadline, due.unit),
    )


def health(rows: Iterable[RunnerRow], *, now: int) -> Health:
    """The health of `rows`: all that are due, and of each shard the one that is due next.

    A runner that is not due yet has its margin left, so those few tell of all.
    """
    live = [row for row in rows if row.is_live]
    due_since = [row.due_at for row in live if row.due_at is not None and row.due_at <= now]
    lives = [row.expires_at - now for row in live if row.expires_at is not None]
    return Health(
        oldest_due_age=now - min(due_since, default=now),
        least_life=min(lives, default=None),
        within_margin=sum(
            0 < row.expires_at - now < _readers_part(row.lifetime or 0)
            for row in live
            if row.expires_at is not None
        ),
        expired=sum(life <= 0 for life in lives),
        waiting_for_first=sum(row.expires_at is None for row in live),
        most_writes_per_secret=max(map(_writes_to_busiest, live), default=0),
        due_units=len({_unit(row) for row in live if row.due_at is not None and row.due_at <= now}),
    )


def _unit(row: RunnerRow) -> Unit:
    """Where a worker finds the row: by what it says, not by what its names would come to today."""
    return row.unit if row.shard is None else Unit(shard=row.shard, project=row.project)


def _readers_part(lifetime: int) -> float:
    """A short-lived token's margin is smaller, and its readers' part of it with it."""
    return required_margin(lifetime) * READERS_SECONDS / MARGIN_SECONDS


def _writes_to_busiest(row: RunnerRow) -> int:
    """A runner's secrets are written in turn, so the busiest takes its share, rounded up."""
    return -(-(row.window_writes or 0) // (row.slots or 1))
