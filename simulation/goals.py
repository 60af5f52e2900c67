"""The goals that a run of Byline must reach."""

from byline.refresh.timing import DAY_SECONDS, WRITES_PER_DAY, due_window
from plan_refresh.planning import WRITES_PER_SECOND
from refresh_tokens.retries import BACK_OFF_CAP_SECONDS
from simulation.outcome import PATIENCE_SECONDS, Outcome

FIRST_TOKEN_SECONDS = PATIENCE_SECONDS
"""The longest wait of a newly registered runner for its first token, when the issuer works."""

SWEPT_SECONDS = DAY_SECONDS
"""The longest life of a token, and of its secrets, without a runner."""

IN_ORDER = 0.95
"""The least share of refreshes after an outage that follow the deadlines of their work unit."""

ACROSS_UNITS = 0.9
"""The least rank correlation between the order of a drain and the order of all its deadlines.
1 is out of reach: two clients' back-offs end up to two minutes apart, and first tokens go
before all others."""

LONG_DRAIN_SECONDS = 4 * BACK_OFF_CAP_SECONDS
"""A shorter drain follows the order in which the clients' back-offs end."""

SPREAD = 0.75
"""The least share of the available time over which the middle 90 % of tokens fall due again."""


def missed(outcome: Outcome) -> list[str]:
    """The goals that a run of Byline misses, in words; an empty list if it reaches all."""
    drain, mints = outcome.drain, outcome.mints
    window = due_window(outcome.scenario.lifetime)
    spread = max(window.last - window.first, drain.planned_seconds)
    is_in_order = drain.planned_seconds < LONG_DRAIN_SECONDS or drain.across_units >= ACROSS_UNITS
    goals = {
        f"{outcome.expired.unexplained} tokens expired": outcome.expired.unexplained == 0,
        f"{outcome.writes_a_secret} writes to a secret in 24 h": (
            outcome.writes_a_secret <= WRITES_PER_DAY
        ),
        f"{outcome.writes_a_second} writes in a second": (
            outcome.writes_a_second <= WRITES_PER_SECOND
        ),
        f"{mints.most_a_message} mints for one token on one message": mints.most_a_message <= 1,
        f"first token after {outcome.longest_wait:.0f} s": (
            outcome.longest_wait <= FIRST_TOKEN_SECONDS
        ),
        f"swept after {outcome.longest_sweep:.0f} s": outcome.longest_sweep <= SWEPT_SECONDS,
        f"drained after {drain.seconds:.0f} s": (
            drain.seconds <= drain.planned_seconds + PATIENCE_SECONDS
        ),
        f"{drain.in_order:.1%} in order within units": drain.in_order >= IN_ORDER,
        f"rank correlation {drain.across_units:.2f} across units": is_in_order,
        f"next round within {drain.next_round:.0f} s": drain.next_round >= SPREAD * spread,
    }
    return [words for words, is_reached in goals.items() if not is_reached]
