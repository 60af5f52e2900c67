"""The metrics that alarms and the dashboard in `template.yaml` are built on.

CloudWatch's embedded metric format, through standard output: no call, nothing to fail.
"""

from typing import Literal

from aws_lambda_powertools.metrics import Metrics, MetricUnit, single_metric

from byline.errors import Reason

NAMESPACE = "Byline"
SERVICE = "byline"

MetricName = Literal["Rejected", "KeyFetchFailed", "Unavailable", "InternalError"]

_metrics = Metrics(namespace=NAMESPACE, service=SERVICE)
_reported_failures = 0


def count(name: MetricName, value: int = 1) -> None:
    """Add to a metric of this invocation."""
    _metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def count_rejected(reason: Reason) -> None:
    """Count a rejection, in all and by its reason: a closed list, so dimensions stay few."""
    count("Rejected")
    with single_metric(
        name="Rejected",
        unit=MetricUnit.Count,
        value=1,
        namespace=NAMESPACE,
        default_dimensions={"service": SERVICE, "reason": reason},
    ):
        pass


def flush(*, failed_fetches: int) -> None:
    """Write what this invocation counted, if anything. `failed_fetches`: since process start."""
    global _reported_failures  # noqa: PLW0603 - one process, one count
    if failed_fetches > _reported_failures:
        count("KeyFetchFailed", failed_fetches - _reported_failures)
        _reported_failures = failed_fetches
    if _metrics.provider.metric_set:
        _metrics.flush_metrics()
