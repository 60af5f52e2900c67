"""The client of the organisation's authorization service: its calls, and what its answers mean.

`POST {url}/v1/authz/{operation}` with a JSON document. Only 200 with `{"success": true}` counts as
success. Calls are repeated, so the service must treat a repeated call like a single one. The module
is imported only where registration is on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from byline.caching import Clock
from byline.fetch import (
    POST_TIMEOUT_SECONDS,
    Answer,
    AnswerRefused,
    FetchFailed,
    PostJson,
    TimedOut,
)
from byline.retries import jittered_wait

if TYPE_CHECKING:
    from byline.metrics import MetricName, Metrics

Operation = Literal["register", "deregister", "grant", "revoke"]

ErrorClass = Literal[
    "network",
    "timeout",
    "unavailable",
    "unauthorized",
    "forbidden",
    "declined",
    "unexpected_status",
    "unusable_answer",
]
"""A closed list, stored in rows, metrics and logs. So no text of the service gets into them."""

PASSING: frozenset[ErrorClass] = frozenset({"network", "timeout", "unavailable"})
"""The classes of errors that a retry may mend. All others stay until somebody changes something."""

_NOT_DONE: frozenset[ErrorClass] = frozenset({"unauthorized", "forbidden", "declined"})
"""After these answers the call has no effect. After every other error it may take effect, even
later: a request that timed out can wait in a queue, and a gateway can answer 503 for a service that
is still at work."""

Event = Literal["attempt", "success", "retry", "failure"]

Count = Callable[[Event, Operation, ErrorClass | None], None]
"""Counts an event of an operation. Retries and failures come with the class of their error."""

ATTEMPTS = 4
"""The calls of one delivery, at the most."""

WAIT_SECONDS = 0.2
"""The longest wait before the second attempt. It doubles before each further one."""

DELIVERY_SECONDS = ATTEMPTS * POST_TIMEOUT_SECONDS + WAIT_SECONDS * (2 ** (ATTEMPTS - 1) - 1)
"""The longest time that a delivery takes."""

_METRICS: "dict[Event, MetricName]" = {
    "attempt": "RegistrationAttempt",
    "success": "RegistrationSuccess",
    "retry": "RegistrationRetry",
    "failure": "RegistrationFailure",
}

type Json = Mapping[str, Any]


class _Success(msgspec.Struct):
    success: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of a call and its retries; `error` is None after a success.

    `is_certain`: no attempt can take effect after this outcome. False if an attempt ended without
    an answer of the service, even where a later attempt succeeded.
    """

    error: ErrorClass | None
    is_certain: bool


def principal(kind: Literal["user", "application"], *, subject: str, issuer: str) -> Json:
    """A person or a service account, in the service's own format."""
    name = "user" if kind == "user" else "service_account"
    return {"type": name, "id": subject, "issuer": issuer}


def resource(kind: Literal["agent", "task", "api_key"], selector: str) -> Json:
    """A resource in the service's own format. A run is a `task`."""
    return {"type": kind, "selector": selector}


def count_in(metrics: "Metrics") -> Count:
    """A `Count` that adds to `metrics`: in all, and by operation and error class."""

    def count(event: Event, operation: Operation, error: ErrorClass | None) -> None:
        dimensions: dict[str, str] = {"operation": operation}
        if error is not None:
            dimensions["error_class"] = error
        metrics.count(_METRICS[event], 1, **dimensions)

    return count


class AuthorizationService:
    """Sends calls to the service at `url`. `random` is uniform from 0 to 1.

    Every call takes `until`, in seconds since the epoch: no retry begins that could end later. The
    first attempt is always made.
    """

    def __init__(
        self,
        url: str,
        *,
        post: PostJson,
        now: Clock,
        sleep: Callable[[float], None],
        random: Callable[[], float],
        count: Count,
    ) -> None:
        self._url = url
        self._post = post
        self._now = now
        self._sleep = sleep
        self._random = random
        self._count = count

    def register(self, who: Json, what: Json, *, parent: Json | None, until: float) -> Delivery:
        """Register the resource `what`, below `parent`, with its creator `who`."""
        return self._deliver("register", _document(who, what) | {"parent": parent}, until)

    def deregister(self, who: Json, what: Json, *, until: float) -> Delivery:
        """Remove the resource `what`, which `who` created."""
        return self._deliver("deregister", _document(who, what), until)

    def grant(self, who: Json, what: Json, *, operation: str, until: float) -> Delivery:
        """Allow `who` the `operation` on `what`."""
        return self._deliver("grant", _document(who, what) | {"operation": operation}, until)

    def revoke(self, who: Json, what: Json, *, operation: str, until: float) -> Delivery:
        """Withdraw the grant of the `operation` on `what` from `who`."""
        return self._deliver("revoke", _document(who, what) | {"operation": operation}, until)

    def _deliver(self, operation: Operation, document: Json, until: float) -> Delivery:
        body = msgspec.json.encode(document)
        is_certain = True
        attempt = 1
        while True:
            self._count("attempt", operation, None)
            error = self._attempt(operation, body)
            if error is None:
                self._count("success", operation, None)
                return Delivery(None, is_certain)
            is_certain = is_certain and error in _NOT_DONE
            wait = jittered_wait(attempt, base_seconds=WAIT_SECONDS, random=self._random)
            is_over = self._now() + wait + POST_TIMEOUT_SECONDS > until
            if error not in PASSING or attempt == ATTEMPTS or is_over:
                self._count("failure", operation, error)
                return Delivery(error, is_certain)
            self._sleep(wait)
            self._count("retry", operation, error)
            attempt += 1

    def _attempt(self, operation: Operation, body: bytes) -> ErrorClass | None:
        try:
            answer = self._post(f"{self._url}/v1/authz/{operation}", document=body)
        except TimedOut:
            return "timeout"
        except AnswerRefused:
            return "unusable_answer"
        except FetchFailed:
            return "network"
        return _error_of(answer)


def _document(who: Json, what: Json) -> dict[str, Any]:
    return {"principal": who, "resource": what}


def _error_of(answer: Answer) -> ErrorClass | None:
    match answer.status:
        case 200:
            try:
                is_done = msgspec.json.decode(answer.body, type=_Success).success
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return "unusable_answer"
            return None if is_done else "declined"
        case 401:
            return "unauthorized"
        case 403:
            return "forbidden"
        case 502 | 503:
            return "unavailable"
        case _:
            return "unexpected_status"
