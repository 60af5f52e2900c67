"""The metrics that alarms and the dashboard in `template.yaml` are built on.

CloudWatch's embedded metric format, through standard output: no call, nothing to fail.
"""

from typing import TYPE_CHECKING, Literal

from aws_lambda_powertools.metrics import Metrics, MetricUnit, single_metric

from byline.errors import Reason

if TYPE_CHECKING:
    from byline.registration.authorization_service import ErrorClass, Event, Operation

NAMESPACE = "Byline"
SERVICE = "byline"

MetricName = Literal[
    "Rejected",
    "KeyFetchFailed",
    "Unavailable",
    "InternalError",
    "ProfileUnavailable",
    "RegistrationAttempt",
    "RegistrationSuccess",
    "RegistrationRetry",
    "RegistrationFailure",
]

_OF_REGISTRATION: "dict[Event, MetricName]" = {
    "attempt": "RegistrationAttempt",
    "success": "RegistrationSuccess",
    "retry": "RegistrationRetry",
    "failure": "RegistrationFailure",
}
"""Named as RegisterResourcesFunction names them: it asks the same service."""

_metrics = Metrics(namespace=NAMESPACE, service=SERVICE)
_reported_failures = 0


def count(name: MetricName, value: int = 1) -> None:
    """Add to a metric of this invocation."""
    _metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def count_rejected(reason: Reason) -> None:
    """Count a rejection, in all and by its reason: a closed list, so dimensions stay few."""
    count("Rejected")
    _count_by("Rejected", reason=reason)


def count_authorization(event: "Event", operation: "Operation", error: "ErrorClass | None") -> None:
    """Count what happened to a call of the authorization service: all three are closed lists."""
    name = _OF_REGISTRATION[event]
    count(name)
    by: dict[str, str] = {"operation": operation}
    _count_by(name, **by if error is None else by | {"error_class": error})


def flush(*, failed_fetches: int) -> None:
    """Write what this invocation counted, if anything. `failed_fetches`: since process start."""
    global _reported_failures  # noqa: PLW0603 - one process, one count
    if failed_fetches > _reported_failures:
        count("KeyFetchFailed", failed_fetches - _reported_failures)
        _reported_failures = failed_fetches
    if _metrics.provider.metric_set:
        _metrics.flush_metrics()


def _count_by(name: MetricName, **dimensions: str) -> None:
    with single_metric(
        name=name,
        unit=MetricUnit.Count,
        value=1,
        namespace=NAMESPACE,
        default_dimensions={"service": SERVICE, **dimensions},
    ):
        pass
