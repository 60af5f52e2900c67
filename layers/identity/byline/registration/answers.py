"""What the answers of the organisation's authorization service mean.

Only 200 with `{"success": true}` is a success. A failure passes where the service, or a gateway
before it, had no capacity or no time (RFC 9110, section 15; RFC 6585, section 4). Every other
failure stays until somebody changes something:

- 3xx: the address is wrong, and a redirect is not followed.
- 401, 403: the service does not accept the caller, or not for this principal.
- Every other 4xx: the service refuses the request itself, and would refuse it again.
- 501, 505: the service does not know the operation or the protocol.
- 2xx without `{"success": true}`: the answer is not one of the wire format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from byline.fetch import Answer, AnswerCutShort, AnswerRefused, FetchFailed, TimedOut
from byline.retry_after import seconds_of

ErrorClass = Literal[
    "network",
    "timeout",
    "rate_limited",
    "unavailable",
    "bad_gateway",
    "server_error",
    "unauthorized",
    "forbidden",
    "declined",
    "unexpected_status",
    "unusable_answer",
]
"""A closed list, stored in rows, metrics and logs. So no text of the service gets into them."""

PASSING: frozenset[ErrorClass] = frozenset(
    {"network", "timeout", "rate_limited", "unavailable", "bad_gateway", "server_error"}
)
"""The classes of errors that a retry may mend. All others stay until somebody changes something."""

NOT_DONE: frozenset[ErrorClass] = frozenset({"unauthorized", "forbidden", "declined"})
"""After these answers the call has no effect. After every other error it may take effect, even
later: a request that timed out can wait in a queue, and a gateway can answer 503 for a service that
is still at work."""


_CLASSES: Mapping[int, ErrorClass] = {
    401: "unauthorized",
    403: "forbidden",
    408: "timeout",
    425: "rate_limited",
    429: "rate_limited",
    501: "unexpected_status",
    502: "bad_gateway",
    503: "unavailable",
    505: "unexpected_status",
}
"""The classes by status. Every other 5xx is `server_error`, everything else `unexpected_status`."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A failed attempt. `retry_after`: the seconds that the service asks to wait, if it does."""

    error: ErrorClass
    retry_after: float | None = None


class _Success(msgspec.Struct):
    success: bool


def failure_of(answer: Answer, *, now: float) -> FailedAttempt | None:
    """The failure that an answer means; None for a success. `now`: seconds since the epoch."""
    if answer.status == 200:
        return _failure_of_body(answer.body)
    return FailedAttempt(_class_of(answer.status), seconds_of(answer.retry_after, now=now))


def failure_without_answer(error: FetchFailed) -> FailedAttempt:
    """The failure of an attempt that got no usable answer."""
    match error:
        case TimedOut():
            return FailedAttempt("timeout")
        case AnswerRefused() if not isinstance(error, AnswerCutShort):
            return FailedAttempt("unusable_answer")
        case _:
            return FailedAttempt("network")


def _failure_of_body(body: bytes) -> FailedAttempt | None:
    try:
        is_done = msgspec.json.decode(body, type=_Success).success
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return FailedAttempt("unusable_answer")
    return None if is_done else FailedAttempt("declined")


def _class_of(status: int) -> ErrorClass:
    of_any_other: ErrorClass = "server_error" if status >= 500 else "unexpected_status"
    return _CLASSES.get(status, of_any_other)
