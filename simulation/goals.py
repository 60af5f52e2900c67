"""What a run of ours must reach, in the words of what was promised."""

from byline.refresh.timing import WRITES_PER_DAY, due_window
from plan_refresh.planning import WRITES_PER_SECOND
from refresh_tokens.retries import BACK_OFF_CAP_SECONDS
from simulation.outcome import PATIENCE_SECONDS, Outcome

IN_ORDER = 0.95
"""Of the refreshes after an outage, so many with no later deadline of their unit before them."""

ACROSS_UNITS = 0.9
"""The rank correlation of the order in which a backlog drains with that of its deadlines. Perfect
order is out of reach: one client's back-off ends two minutes after another's, and a unit's runners
are refreshed one after the other, for which they share a mint."""

LONG_DRAIN_SECONDS = 4 * BACK_OFF_CAP_SECONDS
"""A backlog that drains sooner comes in the order in which the clients' back-offs end."""

SPREAD = 0.75
"""Of the time in which runners could fall due again, the middle 90 % of them take so much."""


def missed(outcome: Outcome) -> list[str]:
    """Which goals the run misses, in words; none is the goal."""
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
        f"{mints.most_a_message} mints for one key on one message": mints.most_a_message <= 1,
        f"drained after {drain.seconds:.0f} s": (
            drain.seconds <= drain.planned_seconds + PATIENCE_SECONDS
        ),
        f"{drain.in_order:.1%} in order within units": drain.in_order >= IN_ORDER,
        f"rank correlation {drain.across_units:.2f} across units": is_in_order,
        f"next round within {drain.next_round:.0f} s": drain.next_round >= SPREAD * spread,
    }
    return [words for words, is_reached in goals.items() if not is_reached]
