"""The metrics of the refresher: what became of runners, of mints and of messages.

CloudWatch's embedded metric format, through standard output: no call, nothing to fail.
"""

from collections import Counter
from threading import Lock
from typing import Literal

from aws_lambda_powertools.metrics import Metrics, MetricUnit, single_metric

NAMESPACE = "Byline"
SERVICE = "byline"

MetricName = Literal[
    "Refreshed", "Postponed", "MintFailed", "StoreThrottled", "MessageNotUnderstood"
]

_metrics = Metrics(namespace=NAMESPACE, service=SERVICE)
_counts: Counter[MetricName] = Counter()
_failed_mints: Counter[str] = Counter()
_lock = Lock()  # units are worked on by several threads


def count(name: MetricName) -> None:
    """Add one to a metric of this invocation."""
    with _lock:
        _counts[name] += 1


def count_postponed(error_class: str) -> None:
    """Count a refresh that is put off, and of these the ones that AWS's limits put off."""
    count("Postponed")
    if error_class == "store_throttled":
        count("StoreThrottled")


def count_failed_mint(error_class: str) -> None:
    """Count a mint that failed, in all and by its class: a closed list, so dimensions stay few.

    Which client it was is in the log, where names cost nothing.
    """
    count("MintFailed")
    with _lock:
        _failed_mints[error_class] += 1


def flush() -> None:
    """Write what this invocation counted, if anything."""
    with _lock:
        counts, failed_mints = dict(_counts), dict(_failed_mints)
        _counts.clear()
        _failed_mints.clear()
    for name, value in counts.items():
        _metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    if counts:
        _metrics.flush_metrics()
    for error_class, value in failed_mints.items():
        with single_metric(
            name="MintFailed",
            unit=MetricUnit.Count,
            value=value,
            namespace=NAMESPACE,
            default_dimensions={"service": SERVICE, "error_class": error_class},
        ):
            pass
