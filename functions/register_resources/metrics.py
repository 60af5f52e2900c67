"""The metrics of registration: what was tried and how it ended, and what is still to be told.

CloudWatch's embedded metric format, through standard output: no call, nothing to fail.
"""

from collections import Counter
from threading import Lock
from typing import Literal

from aws_lambda_powertools.metrics import Metrics, MetricUnit, single_metric

from byline.registration.authorization_service import ErrorClass, Event, Operation

NAMESPACE = "Byline"
SERVICE = "byline"

MetricName = Literal[
    "RegistrationAttempt",
    "RegistrationSuccess",
    "RegistrationRetry",
    "RegistrationFailure",
    "RegistrationPasses",
    "PendingRegistrations",
    "RefusedRegistrations",
    "OldestPendingAge",
]

_NAMES: dict[Event, MetricName] = {
    "attempt": "RegistrationAttempt",
    "success": "RegistrationSuccess",
    "retry": "RegistrationRetry",
    "failure": "RegistrationFailure",
}

_metrics = Metrics(namespace=NAMESPACE, service=SERVICE)
_counts: Counter[tuple[Event, Operation, ErrorClass | None]] = Counter()
_lock = Lock()  # several runs are settled at once


def count(event: Event, operation: Operation, error: ErrorClass | None) -> None:
    """Count what happened to a call; all three are closed lists, so dimensions stay few."""
    with _lock:
        _counts[event, operation, error] += 1


def count_pass() -> None:
    """Count a pass, whatever it came to see."""
    _add("RegistrationPasses", 1)


def report_left(*, pending: int, refused: int, oldest_age: float) -> None:
    """Tell how a pass left things, where it could see all: how many rows the service does not know
    of yet, how many of these it refused, and for how many seconds the oldest has waited."""
    _add("PendingRegistrations", pending)
    _add("RefusedRegistrations", refused)
    _add("OldestPendingAge", int(oldest_age), MetricUnit.Seconds)


def flush() -> None:
    """Write what this invocation counted, if anything: in all, and by operation and error class."""
    with _lock:
        counts = dict(_counts)
        _counts.clear()
    for (event, operation, error), value in counts.items():
        _add(_NAMES[event], value)
        by = {"service": SERVICE, "operation": operation}
        with single_metric(
            name=_NAMES[event],
            unit=MetricUnit.Count,
            value=value,
            namespace=NAMESPACE,
            default_dimensions=by if error is None else {**by, "error_class": error},
        ):
            pass
    if _metrics.provider.metric_set:
        _metrics.flush_metrics()


def _add(name: MetricName, value: int, unit: MetricUnit = MetricUnit.Count) -> None:
    _metrics.add_metric(name=name, unit=unit, value=value)
