"""The tables of docs/simulation.md and of the terminal."""

from collections.abc import Callable, Sequence
from math import isfinite

from simulation.outcome import Outcome

type Column = tuple[str, Callable[[Outcome], str]]

TOKENS: Sequence[Column] = (
    ("rule", lambda run: run.rule),
    ("tokens written", lambda run: f"{run.refreshed:,}"),
    (
        "expired, unexplained / their runners",
        lambda run: f"{run.expired.unexplained:,} / {run.expired.runners:,}",
    ),
    (
        "expired in the outage / its drain",
        lambda run: f"{run.expired.in_outage:,} / {run.expired.in_drain:,}",
    ),
    ("expired by the wrong secret", lambda run: f"{run.expired.by_wrong_secret:,}"),
    ("least life (s)", lambda run: f"{run.least_life:,.0f}"),
    ("writes to a secret in 24 h", lambda run: f"{run.writes_a_secret}"),
    ("refused by the version quota", lambda run: f"{run.limit_exceeded:,}"),
    ("writes in a second", lambda run: f"{run.writes_a_second}"),
    ("throttled", lambda run: f"{run.throttled:,}"),
)
"""One row for each rule: its tokens and its writes to Secrets Manager."""

MINTS: Sequence[Column] = (
    ("rule", lambda run: run.rule),
    ("mints granted", lambda run: f"{run.mints.granted:,}"),
    ("without a write that lasted", lambda run: f"{run.mints.granted - run.refreshed:,}"),
    ("refused, 429", lambda run: f"{run.mints.rate_limited:,}"),
    ("refused, 401", lambda run: f"{run.mints.refused:,}"),
    ("longest wait for a first token (s)", lambda run: _seconds(run.longest_wait)),
    ("backlog", lambda run: f"{run.drain.backlog:,}"),
    ("drained after (s)", lambda run: _seconds(run.drain.seconds)),
    ("in order within a work unit", lambda run: f"{run.drain.in_order:.1%}"),
    ("rank correlation across work units", lambda run: f"{run.drain.across_units:.2f}"),
    ("middle 90 % of the next round (s)", lambda run: _seconds(run.drain.next_round)),
)
"""One row for each rule: its mints, first tokens, and the drain of its backlog after the outage."""


def table(columns: Sequence[Column], outcomes: Sequence[Outcome]) -> str:
    """A Markdown table with a row for each outcome."""
    header = [title for title, _ in columns]
    rows = [[cell(outcome) for _, cell in columns] for outcome in outcomes]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (header, *rows)
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if isfinite(seconds) else "never"
