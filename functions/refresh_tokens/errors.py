"""Why a token could not be refreshed, and how an issuer's error answer is read.

Whatever happened, the old token stays as it is. Errors are of a closed list, and their details are
our own words: an issuer's `error_description` is never read. What to do about each class:
`byline.refresh.hints`.
"""

from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name, is_passing
from byline.fetch import Answer
from byline.refresh.work_units import UnreadableSecret
from byline.retry_after import seconds_of
from byline.tables.rows import Contended

ErrorClass = Literal[
    # RFC 6749, section 5.2, and RFC 8707, section 2, under their own names
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
    # of the issuer
    "rate_limited",
    "issuer_unavailable",
    "issuer_timeout",
    "issuer_mismatch",
    "unexpected_status",
    "answer_unusable",
    "nearly_dead_token",
    # of Secrets Manager
    "client_secret_unusable",
    "store_throttled",
    "store_refused",
    # of Byline itself
    "unexpected_error",
]
"""The classes in rows, metrics and alarms."""

ERROR_CLASSES: frozenset[str] = frozenset(get_args(ErrorClass))

REFUSALS_OF_A_CLIENT: frozenset[ErrorClass] = frozenset(
    {
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "client_secret_unusable",
    }
)
"""Another attempt with the same credentials fails too, and may lock the client."""

REFUSALS_OF_A_SECRET: frozenset[ErrorClass] = frozenset({"invalid_client", "unauthorized_client"})
"""What an issuer answers that does not know a new secret or a new client yet."""

REFUSALS_OF_A_REQUEST: frozenset[ErrorClass] = frozenset(
    {"access_denied", "invalid_request", "invalid_scope", "invalid_target"}
)
"""Another attempt for the same audience, resource and scopes fails too. The client's other requests
may succeed, so they go on."""

REFUSALS = REFUSALS_OF_A_CLIENT | REFUSALS_OF_A_REQUEST
"""Errors that last until somebody changes a configuration."""

FAILURES_OF_A_TOKEN: frozenset[ErrorClass] = frozenset(
    {"answer_unusable", "nearly_dead_token", "unexpected_error"}
)
"""The issuer answered, but without a token of use. The client's other requests go on."""

_VERDICT_STATUSES = frozenset({400, 401, 403})
"""The statuses with which an error of RFC 6749 counts. Its section 5.2 names 400 and 401."""

_REFUSALS: Mapping[str, ErrorClass] = {
    error: error for error in REFUSALS if error != "client_secret_unusable"
}

_PASSING = frozenset({"server_error", "temporarily_unavailable"})
"""Errors that some issuers send with 400 where others send 503 (RFC 6749, section 4.1.2.1)."""


MAX_DETAIL_CHARACTERS = 600
"""An issuer mismatch quotes two names of up to 200 characters."""


class RefreshFailed(Exception):
    """A token was not refreshed. `detail` is a sentence for the operator, without secret text.

    It holds no text of an issuer either, but for the name that a discovery document publishes.
    `retry_after`: how many seconds the issuer asks to wait; None where it does not say.
    """

    def __init__(
        self, error_class: ErrorClass, detail: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{error_class}: {detail}")
        self.error_class: ErrorClass = error_class
        self.detail = detail[:MAX_DETAIL_CHARACTERS]
        self.retry_after = retry_after


class RetryLater(Exception):
    """No token for now: `until` is when to try again, in seconds since the epoch.

    `detail`: the sentence of the `RefreshFailed` that it is about. `asked`: whether the issuer was
    asked just now, so that each failed mint is counted once.
    """

    def __init__(self, error_class: str, detail: str, *, until: int, asked: bool) -> None:
        super().__init__(f"{error_class}: {detail}")
        self.error_class = error_class
        self.detail = detail
        self.until = until
        self.asked = asked


class _ErrorAnswer(msgspec.Struct, frozen=True):
    error: str = ""


def failure_of(answer: Answer, *, now: float) -> RefreshFailed:
    """The error of a token endpoint's answer that has another status than 200.

    Only an error of RFC 6749, section 5.2, in a JSON body is the issuer's verdict on a client or a
    request. A firewall, a proxy or a gateway before the issuer answers 401 and 403 too, with a page
    or with nothing, and so does an issuer that is overloaded: that passes. `now` is in seconds
    since the epoch.
    """
    status = answer.status
    retry_after = seconds_of(answer.retry_after, now=now)
    if status == 429:
        detail = "The issuer limits the rate of requests (status 429)."
        return RefreshFailed("rate_limited", detail, retry_after=retry_after)
    answered = f"The token endpoint answered with status {status}"
    if status >= 500:
        return RefreshFailed("issuer_unavailable", f"{answered}.", retry_after=retry_after)
    if status < 300:
        return RefreshFailed("answer_unusable", f"{answered}.")
    error = _error(answer.body) if status in _VERDICT_STATUSES else ""
    if error in _REFUSALS:
        return RefreshFailed(_REFUSALS[error], f"{answered} and the error `{error}`.")
    if error in _PASSING:
        detail = f"{answered} and the error `{error}`."
        return RefreshFailed("issuer_unavailable", detail, retry_after=retry_after)
    detail = f"{answered} and without an error of OAuth (RFC 6749, section 5.2)."
    return RefreshFailed("unexpected_status", detail, retry_after=retry_after)


def _error(body: bytes) -> str:
    """The error code of a JSON body; empty where it names none."""
    try:
        return msgspec.json.decode(body.removeprefix(BOM_UTF8), type=_ErrorAnswer).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def failure_of_store(error: ClientError | BotoCoreError, *, call: str) -> RefreshFailed:
    """The error of a call of Secrets Manager. `call` says what was tried: "read the secret"."""
    if is_passing(error):
        return RefreshFailed(
            "store_throttled", f"Secrets Manager did not {call}, for now: {error_name(error)}."
        )
    return RefreshFailed(
        "store_refused", f"Secrets Manager refused to {call}: {error_name(error)}."
    )


def failure_of_call(error: Exception, *, call: str) -> RefreshFailed:
    """The error of what was tried, as `call` says: of AWS, of a secret, or of any other kind."""
    if isinstance(error, Contended):
        return RefreshFailed("store_throttled", f"Other writers were in the way to {call}.")
    if isinstance(error, ClientError | BotoCoreError):
        return failure_of_store(error, call=call)
    if isinstance(error, UnreadableSecret):
        return RefreshFailed("store_refused", "The secret holds a text that Byline did not write.")
    detail = f"Byline could not {call}, for a reason that it does not know: {error_name(error)}."
    return RefreshFailed("unexpected_error", detail)
