"""The tables of docs/simulation.md and of the terminal, made of outcomes alone."""

from collections.abc import Iterable, Mapping, Sequence

from plan_refresh.planning import WRITES_PER_SECOND
from simulation.goals import missed
from simulation.outcome import Outcome

type Rows = Sequence[Sequence[str]]

_COLUMNS = (
    "rule",
    "expired, unexplained",
    "expired in the outage / its drain",
    "expired by the wrong secret",
    "least life (s)",
    "writes to a secret in 24 h",
    "writes in a second",
    "throttled",
    "refused by the version quota",
    "mints granted",
    "with a wrong secret",
    "most for a key on a message / in a minute",
)


def scenario_table(outcomes: Iterable[Outcome]) -> str:
    """A row for each rule."""
    return _table(
        _COLUMNS,
        [
            (
                outcome.rule,
                f"{outcome.expired.unexplained:,}",
                f"{outcome.expired.in_outage:,} / {outcome.expired.in_drain:,}",
                f"{outcome.expired.by_wrong_secret:,}",
                f"{outcome.least_life:,.0f}",
                f"{outcome.writes_a_secret}",
                f"{outcome.writes_a_second}",
                f"{outcome.throttled:,}",
                f"{outcome.limit_exceeded:,}",
                f"{outcome.mints.granted:,}",
                f"{outcome.mints.refused:,}",
                f"{outcome.mints.most_a_message} / {outcome.mints.most_a_minute}",
            )
            for outcome in outcomes
        ],
    )


def drain_table(outcomes: Iterable[Outcome]) -> str:
    """A row for each of our runs: what followed its outage."""
    return _table(
        (
            "runners",
            "backlog",
            f"at {WRITES_PER_SECOND} a second (s)",
            "drained after (s)",
            "writes a second",
            "in order within a unit",
            "rank correlation across units",
            "middle 90 % of the next round (s)",
            "mints lost to crashes",
        ),
        [
            (
                f"{outcome.scenario.runners:,}",
                f"{outcome.drain.backlog:,}",
                f"{outcome.drain.planned_seconds:.0f}",
                f"{outcome.drain.seconds:.0f}",
                f"{outcome.drain.rate:.1f}",
                f"{outcome.drain.in_order:.1%}",
                f"{outcome.drain.across_units:.2f}",
                f"{outcome.drain.next_round:.0f}",
                f"{outcome.mints.lost:,} of {outcome.mints.granted:,}",
            )
            for outcome in outcomes
        ],
    )


def variants_table(outcomes: Mapping[str, Outcome]) -> str:
    """A row for each way to run the workers."""
    return _table(
        ("workers run", "expired, unexplained", "least life (s)", "drained after (s)", "misses"),
        [
            (
                name,
                f"{outcome.expired.unexplained:,}",
                f"{outcome.least_life:,.0f}",
                f"{outcome.drain.seconds:,.0f}",
                "; ".join(missed(outcome)) or "nothing",
            )
            for name, outcome in outcomes.items()
        ],
    )


def _table(header: Sequence[str], rows: Rows) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (header, *rows)
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)
