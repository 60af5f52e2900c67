"""What came out of a run, in figures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byline.refresh.timing import MARGIN_SECONDS, TICK_SECONDS
from byline.refresh.work_units import WorkUnit
from plan_refresh.planning import WRITES_PER_SECOND
from refresh_tokens.retries import BACK_OFF_CAP_SECONDS, BREAKER_RECHECK_SECONDS
from simulation.issuer import Mints
from simulation.measures import Measures
from simulation.scenario import Scenario
from simulation.world import World

PATIENCE_SECONDS = BACK_OFF_CAP_SECONDS + 2 * TICK_SECONDS
"""After trouble: until the last client asks again, and a tick has told its runners so."""

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Tokens that died in use, by what there was to blame; `unexplained` is what must not be."""

    in_outage: int
    in_drain: int
    by_wrong_secret: int
    unexplained: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """What followed the outage: so many runners due at once. Times in seconds after its end.

    `rate`: writes a second from the first to the last but 5 %. `in_order`: the share of refreshes
    before which no later deadline of the same unit had its turn. `across_units`: the same for all
    units at once, of those that had failed by the outage's end, as a rank correlation: 1 for
    perfect order, 0 for none. `next_round`: how long
    it takes the middle 90 % of these runners to fall due again.
    """

    backlog: int
    seconds: float
    rate: float
    in_order: float
    across_units: float
    next_round: float
    left: list[tuple[float, int]]
    due_again: list[int]

    @property
    def planned_seconds(self) -> float:
        return self.backlog / WRITES_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run in figures. `lives`: of each minute, the least life left at a refresh, in seconds."""

    rule: str
    scenario: Scenario
    refreshed: int
    expired: Expired
    least_life: float
    writes_a_secret: int
    writes_a_second: int
    throttled: int
    limit_exceeded: int
    mints: Mints
    drain: Drain
    lives: list[float]
    writes_by_minute: list[float]


def outcome_of(world: World[Any], *, rule: str) -> Outcome:
    """The figures of a run that is over."""
    scenario, measures = world.scenario, world.measures
    drain = _drain(measures, scenario)
    recovered_at = scenario.outage.end + drain.planned_seconds + PATIENCE_SECONDS
    times = np.sort(np.array(world.quota.times))
    lives = np.array(measures.lives_by_minute)
    minutes = np.arange(len(lives)) * 60.0
    calm = (minutes + 60 <= scenario.outage.start) | (minutes >= recovered_at)
    by_minute = np.bincount((times // 60).astype(int), minlength=len(lives))
    return Outcome(
        rule=rule,
        scenario=scenario,
        refreshed=measures.refreshed,
        expired=_expired(measures, scenario, recovered_at=recovered_at),
        least_life=float(lives[calm].min()),
        writes_a_secret=world.secrets.most_in_a_day,
        writes_a_second=_busiest_second(times),
        throttled=world.quota.throttled,
        limit_exceeded=world.secrets.limit_exceeded,
        mints=world.issuer.mints,
        drain=drain,
        lives=lives.tolist(),
        writes_by_minute=(by_minute / 60.0).tolist(),
    )


def _expired(measures: Measures, scenario: Scenario, *, recovered_at: float) -> Expired:
    """Only a token that was replaced as soon as can be is excused by what befell it."""
    outage, wrong = scenario.outage, scenario.wrong_secret
    at, replaced_at = np.array(measures.expired_at), np.array(measures.replaced_at)
    in_time = replaced_at <= recovered_at
    in_outage = in_time & (at >= outage.start) & (at < outage.end)
    in_drain = in_time & (at >= outage.end) & (at < recovered_at)
    by_wrong_secret = (
        (np.array(measures.of_broken_project) == 1)
        & (at >= wrong.start)
        & (at < wrong.end + MARGIN_SECONDS)
        & (replaced_at <= wrong.end + BREAKER_RECHECK_SECONDS + PATIENCE_SECONDS)
    )
    excused = in_outage | in_drain | by_wrong_secret
    return Expired(
        in_outage=int(in_outage.sum()),
        in_drain=int(in_drain.sum()),
        by_wrong_secret=int(by_wrong_secret.sum()),
        unexplained=int((~excused).sum()),
    )


def _drain(measures: Measures, scenario: Scenario) -> Drain:
    end = scenario.outage.end
    left = [(at - end, count) for at, count in measures.backlog_left]
    deadlines = np.array(measures.drain_order_of_failed, dtype=float)
    most = [at for at, count in left[1:] if count >= 0.05 * measures.backlog]
    rate = (len(most) - 1) / (most[-1] - most[0]) if len(most) > 1 and most[-1] > most[0] else 0.0
    due_again = sorted(measures.due_seconds)
    middle = np.percentile(due_again, [5, 95]) if due_again else np.zeros(2)
    return Drain(
        backlog=measures.backlog,
        seconds=measures.drained_at - end if measures.backlog else 0.0,
        rate=rate,
        in_order=_in_order(measures.drain_order),
        across_units=_rank_correlation(deadlines),
        next_round=float(middle[1] - middle[0]),
        left=left,
        due_again=[int(at - end) for at in due_again],
    )


def _in_order(drained: list[tuple[WorkUnit, int]]) -> float:
    """The share of entries that no entry of the same unit with a later deadline came before."""
    latest: dict[WorkUnit, int] = {}
    in_order = 0
    for unit, deadline in drained:
        in_order += deadline >= latest.get(unit, deadline)
        latest[unit] = max(deadline, latest.get(unit, deadline))
    return in_order / len(drained) if drained else 1.0


def _rank_correlation(values: Floats) -> float:
    """Of the order in which they came with their own order; 1 for fewer than three."""
    if len(values) < 3 or values.min() == values.max():
        return 1.0
    _, ranks, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks = (np.cumsum(counts) - (counts - 1) / 2)[ranks]
    return float(np.corrcoef(np.arange(len(values)), mean_ranks)[0, 1])


def _busiest_second(times: Floats) -> int:
    """The most writes in any span of a second; sums of floats are off by under a microsecond."""
    if not len(times):
        return 0
    ends = np.searchsorted(times, times + 1 - 1e-6)
    return int((ends - np.arange(len(times))).max())
