"""The metrics of the planner, on which the alarms about runners' tokens are built.

They are told from the rows, so they hold where the refresher itself is what is broken. CloudWatch's
embedded metric format, through standard output: no call, nothing to fail.
"""

from typing import Literal

from aws_lambda_powertools.metrics import Metrics, MetricUnit

from plan_refresh.due_units import Health

NAMESPACE = "Byline"
SERVICE = "byline"

MetricName = Literal[
    "Ticks",
    "OldestDueAge",
    "LeastRemainingLife",
    "TokensWithinMargin",
    "TokensExpired",
    "RunnersWithoutToken",
    "MostWritesPerSecret",
    "DueUnits",
    "UnreadableRunner",
]

_metrics = Metrics(namespace=NAMESPACE, service=SERVICE)


def count_unreadable() -> None:
    """Count a row that nobody can read, and so nobody refreshes."""
    _add("UnreadableRunner", 1)


def report_tick(state: Health | None) -> None:
    """Write what this tick saw. None where it could not see all: then only that it took place."""
    _add("Ticks", 1)
    if state is not None:
        _add("OldestDueAge", state.oldest_due_age, MetricUnit.Seconds)
        if state.least_life is not None:
            _add("LeastRemainingLife", state.least_life, MetricUnit.Seconds)
        _add("TokensWithinMargin", state.within_margin)
        _add("TokensExpired", state.expired)
        _add("RunnersWithoutToken", state.waiting_for_first)
        _add("MostWritesPerSecret", state.most_writes_per_secret)
        _add("DueUnits", state.due_units)
    _metrics.flush_metrics()


def _add(name: MetricName, value: int, unit: MetricUnit = MetricUnit.Count) -> None:
    _metrics.add_metric(name=name, unit=unit, value=value)
