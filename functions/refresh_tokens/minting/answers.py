"""Reading what a token endpoint answers (RFC 6749, sections 5.1 and 5.2).

Nothing of it is believed: a token's own times are read unverified, for timing alone. Nothing of it
is repeated: errors are of a closed list, and `error_description` is never read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from byline.errors import Rejected
from byline.fetch import Answer
from byline.identity.unverified import UnverifiedToken, parse
from refresh_tokens.errors import REFUSALS, ErrorClass, RefreshFailed
from refresh_tokens.minting.retry_after import seconds_of

MAX_TOKEN_CHARACTERS = 60_000
"""A secret takes 65,536 bytes, and the token is not alone in it."""

_OF_STATUS: Mapping[int, ErrorClass] = {
    400: "invalid_request",
    401: "invalid_client",
    403: "access_denied",
}
"""What a refusal means that names no error, or none that is known."""

_REFUSALS: Mapping[str, ErrorClass] = {
    error: error for error in REFUSALS if error != "client_secret_unusable"
}

_PASSING = frozenset({"server_error", "temporarily_unavailable"})
"""Errors that some issuers send with 400 where others send 503 (RFC 6749, section 4.1.2.1)."""


class _TokenAnswer(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str
    expires_in: int | float | str | None = None

    def __repr__(self) -> str:
        return "<answer of a token endpoint>"


class _ErrorAnswer(msgspec.Struct, frozen=True):
    error: str = ""


class _Times(msgspec.Struct, frozen=True):
    iat: float | None = None
    exp: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenToken:
    """A token, and all that answer and token say of its time; None where they do not.

    `expires_in` is in seconds, `issued` and `expires` are in seconds since the epoch.
    """

    token: UnverifiedToken
    expires_in: float | None
    issued: float | None
    expires: float | None

    @property
    def full_lifetime(self) -> float | None:
        """What the token had at first, where it tells."""
        if self.issued is None or self.expires is None:
            return None
        return self.expires - self.issued


def read_token(answer: Answer, *, now: float) -> GivenToken:
    """The token of an answer. Raises `RefreshFailed` for every answer that has none to use."""
    if answer.status != 200:
        raise _failure(answer, now=now)
    given = _decoded(answer.body)
    if given is None:
        raise RefreshFailed("answer_unusable", "the answer is not JSON with a token")
    if given.token_type.lower() != "bearer":
        raise RefreshFailed("answer_unusable", "the token is of another type than Bearer")
    text = given.access_token
    if not 0 < len(text) <= MAX_TOKEN_CHARACTERS:
        raise RefreshFailed("answer_unusable", f"the token has {len(text)} characters")
    if not text.isascii() or not text.isprintable() or " " in text:
        # Whoever uses it puts it into a header (RFC 6750, section 2.1).
        raise RefreshFailed("answer_unusable", "the token is not printable ASCII")
    token = UnverifiedToken(text)
    times = _times(token)
    return GivenToken(
        token=token,
        expires_in=_seconds(given.expires_in),
        issued=times.iat,
        expires=times.exp,
    )


def _failure(answer: Answer, *, now: float) -> RefreshFailed:
    status = answer.status
    retry_after = seconds_of(answer.retry_after, now=now)
    if status == 429:
        return RefreshFailed("rate_limited", "status 429", retry_after=retry_after)
    if status >= 500:
        return RefreshFailed("issuer_unavailable", f"status {status}", retry_after=retry_after)
    if status not in _OF_STATUS:
        return RefreshFailed("answer_unusable", f"status {status}")
    error = _error(answer.body)
    if error in _PASSING:
        return RefreshFailed("issuer_unavailable", f"status {status}", retry_after=retry_after)
    return RefreshFailed(_REFUSALS.get(error, _OF_STATUS[status]), f"status {status}")


def _error(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_ErrorAnswer).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _decoded(body: bytes) -> _TokenAnswer | None:
    """None for what is not an answer with a token. No error leaves here: it may carry the text."""
    try:
        return msgspec.json.decode(body, type=_TokenAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _seconds(expires_in: float | str | None) -> float | None:
    """Some issuers send text. What cannot be read is not known; the token may tell."""
    if isinstance(expires_in, str):
        return float(expires_in) if expires_in.isascii() and expires_in.isdigit() else None
    return expires_in


def _times(token: UnverifiedToken) -> _Times:
    """The token's own times; none where it is not a JWT that can be read."""
    try:
        return msgspec.convert(parse(token, padded=False).claims, _Times)
    except (Rejected, msgspec.ValidationError, OverflowError):
        return _Times()
