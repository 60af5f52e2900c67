"""The metrics of the refresher: what became of runners, of mints and of messages.

CloudWatch's embedded metric format, through standard output: no call, nothing to fail.
"""

from typing import Literal

from aws_lambda_powertools.metrics import Metrics, MetricUnit, single_metric

NAMESPACE = "Byline"
SERVICE = "byline"

MetricName = Literal[
    "Refreshed", "Postponed", "MintFailed", "StoreThrottled", "MessageNotUnderstood"
]

_metrics = Metrics(namespace=NAMESPACE, service=SERVICE)


def count(name: MetricName) -> None:
    """Add one to a metric of this invocation."""
    _metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)


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
    with single_metric(
        name="MintFailed",
        unit=MetricUnit.Count,
        value=1,
        namespace=NAMESPACE,
        default_dimensions={"service": SERVICE, "error_class": error_class},
    ):
        pass


def flush() -> None:
    """Write what this invocation counted, if anything."""
    if _metrics.provider.metric_set:
        _metrics.flush_metrics()
