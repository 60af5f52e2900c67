"""The organisation's authorization service: what it is told, how, and what its answers mean.

`POST {url}/v1/authz/{operation}` with a JSON document; 200 `{"success": true}` is success and
nothing else is. It must take a call that comes twice for one that came once. Imported only where
registration is on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
"""Closed: rows, metrics and alarms go by it, so nothing that the service writes gets into them."""

PASSING: frozenset[ErrorClass] = frozenset({"network", "timeout", "unavailable"})
"""What time may mend. All others are final, until somebody changes something."""

_NOT_DONE: frozenset[ErrorClass] = frozenset({"unauthorized", "forbidden", "declined"})
"""The service said no. After every other error it may have done what was asked, or may yet do it:
what timed out still sits in some queue, and a 503 may be the word of a gateway alone."""

Event = Literal["attempt", "success", "retry", "failure"]

Count = Callable[[Event, Operation, ErrorClass | None], None]
"""Counts an event of an operation; retries and failures by what went wrong."""

ATTEMPTS = 4
"""Of one delivery. Later ones are for whoever finds the row still pending."""

WAIT_SECONDS = 0.2
"""At most so long before the second attempt, and twice as long before each further one."""

DELIVERY_SECONDS = ATTEMPTS * POST_TIMEOUT_SECONDS + WAIT_SECONDS * (2 ** (ATTEMPTS - 1) - 1)
"""The longest that a delivery takes."""

type Json = Mapping[str, Any]


class _Success(msgspec.Struct):
    success: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery; `error` is None where it succeeded.

    `is_certain`: none of its attempts may have done, or may yet do, more than it says. A success
    after an attempt that timed out is not certain to be the last that is heard of it.
    """

    error: ErrorClass | None
    is_certain: bool


def principal(kind: Literal["user", "application"], *, subject: str, issuer: str) -> Json:
    """A person or a service account, as the service is told of them."""
    name = "user" if kind == "user" else "service_account"
    return {"type": name, "id": subject, "issuer": issuer}


def resource(kind: Literal["agent", "task", "api_key"], selector: str) -> Json:
    """A thing, as the service is told of it; a run is a `task`."""
    return {"type": kind, "selector": selector}


class AuthorizationService:
    """The service at `url`. `random` is uniform from 0 to 1."""

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

    def register(self, who: Json, what: Json, *, parent: Json | None, until: float) -> Outcome:
        """Tell that `what`, below `parent`, is `who`'s. No attempt begins that may outlast `until`,
        seconds since the epoch, but for the first."""
        return self._deliver("register", _document(who, what) | {"parent": parent}, until)

    def deregister(self, who: Json, what: Json, *, until: float) -> Outcome:
        """Tell that `what`, which was `who`'s, is gone."""
        return self._deliver("deregister", _document(who, what), until)

    def grant(self, who: Json, what: Json, *, operation: str, until: float) -> Outcome:
        """Allow `who` the operation on `what`."""
        return self._deliver("grant", _document(who, what) | {"operation": operation}, until)

    def revoke(self, who: Json, what: Json, *, operation: str, until: float) -> Outcome:
        """Take that back."""
        return self._deliver("revoke", _document(who, what) | {"operation": operation}, until)

    def _deliver(self, operation: Operation, document: Json, until: float) -> Outcome:
        body = msgspec.json.encode(document)
        is_certain = True
        attempt = 1
        while True:
            self._count("attempt", operation, None)
            error = self._attempt(operation, body)
            if error is None:
                self._count("success", operation, None)
                return Outcome(None, is_certain)
            is_certain = is_certain and error in _NOT_DONE
            # Full jitter: those that failed together do not come back together.
            wait = self._random() * WAIT_SECONDS * 2 ** (attempt - 1)
            is_over = self._now() + wait + POST_TIMEOUT_SECONDS > until
            if error not in PASSING or attempt == ATTEMPTS or is_over:
                self._count("failure", operation, error)
                return Outcome(error, is_certain)
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
