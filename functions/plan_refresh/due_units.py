"""Which units of work are due, in which order, and how the tokens of all runners are doing.

Pure: rows in, decisions out. `make simulate` runs this very code on simulated time.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from aws_lambda_powertools.metrics import MetricUnit

from byline.metrics import Metrics
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import (
    MARGIN_SECONDS,
    READERS_SECONDS,
    TICK_SECONDS,
    required_margin,
)
from byline.refresh.work_units import Unit
from plan_refresh.tick_share import WRITES_A_TICK, chosen_runners, is_replaced, trouble_of

AGAIN_SECONDS = TICK_SECONDS // 2
"""After this a unit's second message comes, which finds nothing to do unless the worker of the
first one died, or has not come to it yet. The lease of one that died at once is over by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueUnit:
    """A unit's turn. Times are seconds since the epoch.

    `deadline`: the earliest of its due runners'. `runners`: how many of them this turn is for.
    `up_to`: the latest deadline of those whose token is replaced; None where it is for all.
    `again`: the latest deadline that its second message is for; None where it has no second one.
    """

    unit: Unit
    deadline: int
    runners: int
    up_to: int | None
    again: int | None


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


def due_units(rows: Iterable[RunnerRow], *, now: int, writes: int = WRITES_A_TICK) -> list[DueUnit]:
    """The units of `rows`, which are due, with what of them this tick is for, most urgent first.

    So many `writes` are this tick's, and they are for the earliest deadlines of all units. What is
    left out is due at the next tick, and earlier than the others then. A runner's first token and a
    deleted runner's sweep are never left out.
    """
    units: defaultdict[Unit, list[RunnerRow]] = defaultdict(list)
    for row in rows:
        units[_unit(row)].append(row)
    replaced = {
        unit: sorted((row for row in due if is_replaced(row)), key=lambda row: row.deadline)
        for unit, due in units.items()
    }
    chosen = chosen_runners(replaced, now=now, writes=writes)
    return sorted(
        (
            DueUnit(
                unit=unit,
                deadline=min(row.deadline for row in due),
                runners=len(due) - len(replaced[unit]) + chosen[unit],
                up_to=_last_deadline(replaced[unit], chosen[unit]),
                again=_again(replaced[unit][: chosen[unit]], now=now),
            )
            for unit, due in units.items()
            if chosen[unit] or len(due) > len(replaced[unit])
        ),
        key=lambda due: (due.deadline, due.unit),
    )


def health(rows: Iterable[RunnerRow], *, now: int) -> Health:
    """The health of `rows`: all that are due, and of each shard the one that is due next.

    A runner that is not due yet has its margin left, so those few tell of all but those that failed
    and wait for their next try: they are seen again when that comes.
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


def report_health(metrics: Metrics, state: Health) -> None:
    """Write `state` into the metrics of a tick."""
    metrics.report("OldestDueAge", state.oldest_due_age, MetricUnit.Seconds)
    if state.least_life is not None:
        metrics.report("LeastRemainingLife", state.least_life, MetricUnit.Seconds)
    metrics.report("TokensWithinMargin", state.within_margin)
    metrics.report("TokensExpired", state.expired)
    metrics.report("RunnersWithoutToken", state.waiting_for_first)
    metrics.report("MostWritesPerSecret", state.most_writes_per_secret)
    metrics.report("DueUnits", state.due_units)


def _last_deadline(rows: list[RunnerRow], chosen: int) -> int | None:
    """Up to where `rows` are meant, by the first of them that are; None where all are."""
    if chosen == len(rows):
        return None
    return rows[chosen - 1].deadline if chosen else 0


def _again(chosen: list[RunnerRow], *, now: int) -> int | None:
    """The last deadline of those `chosen`. Where something failed it is known when to try again."""
    if not chosen or trouble_of(chosen, now=now) != "none":
        return None
    return chosen[-1].deadline


def _unit(row: RunnerRow) -> Unit:
    """Where a worker finds the row: by what it says, not by what its names would come to today."""
    return row.unit if row.shard is None else Unit(shard=row.shard, project=row.project)


def _readers_part(lifetime: int) -> float:
    """A short-lived token's margin is smaller, and its readers' part of it with it."""
    return required_margin(lifetime) * READERS_SECONDS / MARGIN_SECONDS


def _writes_to_busiest(row: RunnerRow) -> int:
    """A runner's secrets are written in turn, so the busiest takes its share, rounded up."""
    return -(-(row.window_writes or 0) // (row.slots or 1))
