"""The counters of the authorization service's calls: Byline's own, and those of agentex."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from byline.registration.answers import ErrorClass

if TYPE_CHECKING:
    from byline.metrics import AgentexMetric, AuthorizationMetric, Metrics

Operation = Literal["register", "deregister", "grant", "revoke"]

Event = Literal["attempt", "success", "retry", "failure"]

Count = Callable[[Event, Operation, ErrorClass | None], None]
"""Counts an event of an operation. Retries and failures come with the class of their error."""

_METRICS: "Mapping[Event, AuthorizationMetric]" = {
    "attempt": "RegistrationAttempt",
    "success": "RegistrationSuccess",
    "retry": "RegistrationRetry",
    "failure": "RegistrationFailure",
}

_AGENTEX_METRICS: "Mapping[Event, AgentexMetric]" = {
    "attempt": "task_fgac_dual_write.attempt",
    "success": "task_fgac_dual_write.success",
    "retry": "task_fgac_dual_write.retry",
    "failure": "task_fgac_dual_write.failure",
}

EXCEPTION_CLASSES: Mapping[ErrorClass, str] = {
    "network": "AuthenticationServiceUnavailableError",
    "timeout": "AuthenticationServiceUnavailableError",
    "rate_limited": "ServiceError",
    "unavailable": "AuthenticationServiceUnavailableError",
    "bad_gateway": "AuthenticationGatewayError",
    "server_error": "ServiceError",
    "unauthorized": "AuthenticationError",
    "forbidden": "AuthorizationError",
    "declined": "ServiceError",
    "unexpected_status": "ServiceError",
    "unusable_answer": "ServiceError",
}
"""The exception that agentex raises for each class of errors, in
https://github.com/scaleapi/scale-agentex/blob/main/agentex/src/utils/http_request_handler.py"""


def count_in(metrics: "Metrics", *, names: str) -> Count:
    """A `Count` that adds to `metrics`: in all, and by operation and class.

    With `names` = `agentex`, it counts the same events under agentex's names too.
    """

    def count(event: Event, operation: Operation, error: ErrorClass | None) -> None:
        of_error = {} if error is None else {"error_class": error}
        metrics.count(_METRICS[event], 1, operation=operation, **of_error)
        if names == "agentex":
            of_exception = {} if error is None else {"exception_class": EXCEPTION_CLASSES[error]}
            metrics.count(_AGENTEX_METRICS[event], 1, op=operation, **of_exception)

    return count
