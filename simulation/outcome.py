"""The figures of a run."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from byline.refresh.timing import MARGIN_SECONDS, TICK_SECONDS
from byline.refresh.work_units import WorkUnit
from plan_refresh.planning import WRITES_PER_SECOND
from refresh_tokens.retries import BACK_OFF_CAP_SECONDS, BREAKER_RECHECK_SECONDS
from simulation.issuer import Mints
from simulation.measures import Ends, Measures
from simulation.scenario import Scenario
from simulation.world import World

PATIENCE_SECONDS = BACK_OFF_CAP_SECONDS + 2 * TICK_SECONDS
"""The time after a fault until the last client's back-off has ended, and two ticks have passed."""

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The numbers of tokens that expired before they were replaced, by cause.

    `unexplained`: neither the outage, nor its drain, nor the wrong secret excuses them. `runners`:
    how many runners these left without a token.
    """

    in_outage: int
    in_drain: int
    by_wrong_secret: int
    unexplained: int
    runners: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """The refreshing of the `backlog` of an outage. Times are in seconds after the outage's end.

    `seconds`: until the whole backlog was refreshed. `rate`: writes a second, without the last 5 %.
    `in_order`: the share of refreshes that no later deadline of the same work unit came before.
    `across_units`: the rank correlation of the order of refreshes with the order of all deadlines,
    for tokens that had failed when the outage ended; 1 for perfect order, 0 for none.
    `next_round`: the time in which the middle 90 % of the backlog falls due again.
    `left`: times and how many tokens were left then. `due_again`: when each falls due again.
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
        """The time that the backlog needs at the write limit of all workers."""
        return self.backlog / WRITES_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of a run.

    `refreshed`: tokens written. `least_life`: the least remaining life in seconds of a replaced
    token, outside of the outage and its drain and without the project whose secret was wrong.
    `writes_a_secret`: the most to one secret in 24 hours. `writes_a_second`: in any second.
    `throttled` and `limit_exceeded`: writes that the account's rate and the version quota refused.
    `registered`: runners that were registered during the run. `longest_wait`: from a registration
    that needed a new token to that token, unless a fault explains it. `longest_sweep`: from a
    token's last runner to the end of its sweep.
    `lives`: by minute, the least remaining life of a replaced token, in seconds.
    `writes_by_minute`: by minute, the mean number of writes a second.
    """

    rule: str
    scenario: Scenario
    refreshed: int
    expired: Expired
    least_life: float
    writes_a_secret: int
    writes_a_second: int
    throttled: int
    limit_exceeded: int
    registered: int
    longest_wait: float
    longest_sweep: float
    mints: Mints
    drain: Drain
    lives: list[float]
    writes_by_minute: list[float]


def outcome_of(world: World, *, rule: str) -> Outcome:
    """The figures of a run that has ended."""
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
        expired=_expired(measures.expired, scenario, recovered_at=recovered_at),
        least_life=float(lives[calm].min()),
        writes_a_secret=world.secrets.most_in_a_day,
        writes_a_second=_busiest_second(times),
        throttled=world.quota.throttled,
        limit_exceeded=world.secrets.limit_exceeded,
        registered=measures.registered,
        longest_wait=_longest_wait(measures.waits, scenario, recovered_at=recovered_at),
        longest_sweep=measures.longest_sweep,
        mints=world.issuer.mints,
        drain=drain,
        lives=lives.tolist(),
        writes_by_minute=(by_minute / 60.0).tolist(),
    )


def _expired(expired: Ends, scenario: Scenario, *, recovered_at: float) -> Expired:
    """Count expired tokens by cause. A cause excuses only a token that was replaced in time."""
    outage, wrong = scenario.outage, scenario.wrong_secret
    at, mended_at = np.array(expired.at), np.array(expired.mended_at)
    in_time = mended_at <= recovered_at
    in_outage = in_time & (at >= outage.start) & (at < outage.end)
    in_drain = in_time & (at >= outage.end) & (at < recovered_at)
    by_wrong_secret = (
        (np.array(expired.of_broken_project) == 1)
        & (at >= wrong.start)
        & (at < wrong.end + MARGIN_SECONDS)
        & (mended_at <= _secret_works_again(scenario))
    )
    unexplained = ~(in_outage | in_drain | by_wrong_secret)
    return Expired(
        in_outage=int(in_outage.sum()),
        in_drain=int(in_drain.sum()),
        by_wrong_secret=int(by_wrong_secret.sum()),
        unexplained=int(unexplained.sum()),
        runners=int(np.array(expired.runners)[unexplained].sum()),
    )


def _longest_wait(waits: Ends, scenario: Scenario, *, recovered_at: float) -> float:
    """The longest wait for a first token that no fault explains, 0 without any."""
    outage, wrong = scenario.outage, scenario.wrong_secret
    at, mended_at = np.array(waits.at), np.array(waits.mended_at)
    by_outage = (at < recovered_at) & (mended_at >= outage.start) & (mended_at <= recovered_at)
    by_wrong_secret = (
        (np.array(waits.of_broken_project) == 1)
        & (at < wrong.end)
        & (mended_at >= wrong.start)
        & (mended_at <= _secret_works_again(scenario))
    )
    unexplained = ~(by_outage | by_wrong_secret)
    return float((mended_at - at)[unexplained].max(initial=0.0))


def _secret_works_again(scenario: Scenario) -> float:
    """When each token of the project with the wrong secret has been tried with the right one."""
    return scenario.wrong_secret.end + BREAKER_RECHECK_SECONDS + PATIENCE_SECONDS


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
    """The share of refreshes that no later deadline of the same work unit came before."""
    latest: dict[WorkUnit, int] = {}
    in_order = 0
    for unit, deadline in drained:
        in_order += deadline >= latest.get(unit, deadline)
        latest[unit] = max(deadline, latest.get(unit, deadline))
    return in_order / len(drained) if drained else 1.0


def _rank_correlation(values: Floats) -> float:
    """Rank correlation of the values' order with ascending order; 1 for fewer than three values."""
    if len(values) < 3 or values.min() == values.max():
        return 1.0
    _, ranks, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks = (np.cumsum(counts) - (counts - 1) / 2)[ranks]
    return float(np.corrcoef(np.arange(len(values)), mean_ranks)[0, 1])


def _busiest_second(times: Floats) -> int:
    """The most writes in any span of one second, with a tolerance of 1 µs for rounding."""
    if not len(times):
        return 0
    ends = np.searchsorted(times, times + 1 - 1e-6)
    return int((ends - np.arange(len(times))).max())
