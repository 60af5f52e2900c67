"""What an invocation reports: its metrics, for the alarms and the dashboard, and its failure.

Metrics are written to standard output in CloudWatch's embedded metric format, so no call can fail.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Literal, get_args

from aws_lambda_powertools.metrics import Metrics as PowertoolsMetrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from byline.aws import error_name, error_places

NAMESPACE = "Byline"

RequestMetric = Literal[
    "Rejected",
    "KeyFetchFailed",
    "Unavailable",
    "InternalError",
    "ProfileUnavailable",
    "TokenReadDenied",
]
PlannerMetric = Literal[
    "Ticks",
    "OldestDueAge",
    "LeastRemainingLife",
    "TokensWithinMargin",
    "TokensExpired",
    "TokensWaiting",
    "MostWritesPerSecret",
    "DueUnits",
    "UnreadableRow",
]
RefreshMetric = Literal[
    "Refreshed",
    "Postponed",
    "MintFailed",
    "StoreThrottled",
    "UnexpectedError",
    "SweepFailed",
    "MessageNotUnderstood",
]
AuthorizationMetric = Literal[
    "RegistrationAttempt", "RegistrationSuccess", "RegistrationRetry", "RegistrationFailure"
]
AgentexMetric = Literal[
    "task_fgac_dual_write.attempt",
    "task_fgac_dual_write.success",
    "task_fgac_dual_write.retry",
    "task_fgac_dual_write.failure",
]
BacklogMetric = Literal[
    "RegistrationPasses",
    "PendingRegistrations",
    "PendingRevocations",
    "RefusedRegistrations",
    "OldestPendingAge",
]
MetricName = Literal[
    RequestMetric, PlannerMetric, RefreshMetric, AuthorizationMetric, AgentexMetric, BacklogMetric
]
"""Every metric. docs/runbook.md says what the alarm on one means."""

METRICS: Mapping[str, frozenset[MetricName]] = {
    "RunsFunction": frozenset(
        get_args(RequestMetric) + get_args(AuthorizationMetric) + get_args(AgentexMetric)
    ),
    "PlanRefreshFunction": frozenset(get_args(PlannerMetric)),
    "RefreshTokensFunction": frozenset(get_args(RefreshMetric)),
    "RegisterResourcesFunction": frozenset(
        get_args(AuthorizationMetric) + get_args(AgentexMetric) + get_args(BacklogMetric)
    ),
}
"""The metrics that each function writes, by its logical id in template.yaml."""

type _Dimensions = tuple[tuple[str, str], ...]


class Metrics:
    """The metrics of one invocation, kept until `flush`. Safe for several threads.

    `service`: the value of their dimension `service`, which tells deployments apart.
    """

    def __init__(self, service: str) -> None:
        self.totals: dict[MetricName, tuple[int, MetricUnit]] = {}
        self._parts: Counter[tuple[MetricName, _Dimensions]] = Counter()
        self._lock = Lock()
        self._service = service
        self._document = PowertoolsMetrics(namespace=NAMESPACE, service=service)

    def count(self, name: MetricName, value: int = 1, **dimensions: str) -> None:
        """Add `value` to the metric's total, and to the metric with `dimensions`, if any.

        The values of `dimensions` must come from closed lists: AWS charges for each combination.
        """
        with self._lock:
            total, unit = self.totals.get(name, (0, MetricUnit.Count))
            self.totals[name] = total + value, unit
            if dimensions:
                self._parts[name, tuple(dimensions.items())] += value

    def report(self, name: MetricName, value: int, unit: MetricUnit = MetricUnit.Count) -> None:
        """Set the metric to `value`, which replaces an earlier one of this invocation."""
        with self._lock:
            self.totals[name] = value, unit

    def flush(self) -> None:
        """Write all metrics of this invocation, if any, and reset them."""
        with self._lock:
            totals, parts = dict(self.totals), dict(self._parts)
            self.totals.clear()
            self._parts.clear()
        for name, (value, unit) in totals.items():
            self._document.add_metric(name=name, unit=unit, value=value)
        if totals:
            self._document.flush_metrics()
        for (name, dimensions), value in parts.items():
            with single_metric(
                name=name,
                unit=MetricUnit.Count,
                value=value,
                namespace=NAMESPACE,
                default_dimensions={"service": self._service, **dict(dimensions)},
            ):
                pass


class InvocationFailed(Exception):
    """The invocation failed: the name of the error, and the places that it came through."""


def failing_without_text[Handled](
    handler: Callable[[dict[str, Any], Any], Handled],
) -> Callable[[dict[str, Any], Any], Handled]:
    """`handler`, whose errors become `InvocationFailed`.

    Lambda logs the message and the traceback of the error that a handler raises, and its message
    may quote a secret.
    """

    def handle(event: dict[str, Any], context: Any) -> Handled:
        try:
            return handler(event, context)
        except Exception as error:
            failure = InvocationFailed(f"{error_name(error)} at {', '.join(error_places(error))}")
        raise failure

    return handle
