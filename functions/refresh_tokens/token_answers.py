"""Reading the answer of a token endpoint that gives a token (RFC 6749, section 5.1).

Issuers differ in everything but the token itself, so members that are wrong count as missing. A
token's own times are read without verification, for timing only: no access depends on them.
"""

import re
from collections.abc import Callable
from math import isfinite

import msgspec

from byline.errors import Rejected
from byline.fetch import Answer
from byline.identity.unverified import UnverifiedToken, parse
from byline.refresh.timing import DAY_SECONDS, MintedToken, lifetime_of
from refresh_tokens.errors import RefreshFailed

MAX_TOKEN_CHARACTERS = 60_000
"""A secret takes 65,536 bytes, and holds more than the token."""

MAX_EXPIRES_IN_SECONDS = 400 * DAY_SECONDS
"""A larger `expires_in` is no lifetime: the date of the expiry in seconds, or milliseconds."""

_FIRST_MILLISECONDS = 1e11
"""A larger time is not in seconds since the epoch: that would be after the year 5000."""


_BEARER = re.compile(r"(jwt[-_ ]?)?bearer([-_ ]?token)?", re.IGNORECASE)
"""Some issuers write `BearerToken` or `jwt-bearer`, and some leave the type out."""

_WORD = re.compile(r"[a-z_-]{1,16}", re.IGNORECASE)


class _TokenAnswer(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str | None = None
    expires_in: msgspec.Raw = msgspec.Raw(b"null")

    def __repr__(self) -> str:
        return "<answer of a token endpoint>"


class _Times(msgspec.Struct, frozen=True):
    iat: float | None = None
    exp: float | None = None


def is_success(answer: Answer) -> bool:
    """Whether the issuer did what was asked. Some answer 201 where the standard has 200."""
    return 200 <= answer.status < 300


def read_token(
    body: bytes, *, asked_at: float, default_lifetime: int, warn: Callable[[str], None]
) -> MintedToken:
    """The token of a successful answer. Raises `RefreshFailed` (`answer_unusable`).

    `warn` gets a sentence about a member that was ignored. It quotes no text of the answer.
    """
    answer = _decoded(body)
    if answer is None:
        raise RefreshFailed("answer_unusable", "the answer is not JSON with a token")
    if (name := (answer.token_type or "").strip()) and not _BEARER.fullmatch(name):
        # Another text than a plain word is not quoted: it may be anything.
        named = f"`{name}`" if _WORD.fullmatch(name) else "another type"
        raise RefreshFailed("answer_unusable", f"the token's type is {named} and not Bearer")
    text = answer.access_token
    if not 0 < len(text) <= MAX_TOKEN_CHARACTERS:
        raise RefreshFailed("answer_unusable", f"the token has {len(text)} characters")
    if not text.isascii() or not text.isprintable() or " " in text:
        # Its users send it in a header (RFC 6750, section 2.1).
        raise RefreshFailed("answer_unusable", "the token is not printable ASCII")
    times = _times(UnverifiedToken(text))
    expires_in = _seconds(answer.expires_in)
    if expires_in is None and bytes(answer.expires_in) != b"null":
        source = "the default lifetime" if times.exp is None else "the token's own `exp`"
        warn(f"The issuer's `expires_in` is no lifetime in seconds. Byline uses {source} instead.")
    lifetime = lifetime_of(
        expires_in=expires_in,
        issued=times.iat,
        expires=times.exp,
        now=asked_at,
        default=default_lifetime,
    )
    full = None if times.iat is None or times.exp is None else times.exp - times.iat
    return MintedToken(text=text, issued_at=int(asked_at), lifetime=lifetime, full_lifetime=full)


def _decoded(body: bytes) -> _TokenAnswer | None:
    """None for another answer. No error leaves here, because it may carry the token."""
    try:
        return msgspec.json.decode(body, type=_TokenAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _seconds(expires_in: msgspec.Raw) -> float | None:
    """The lifetime that a number or its text states; None where it can be none."""
    try:
        value = msgspec.json.decode(expires_in)
        seconds = float(value) if type(value) in (int, float, str) else -1.0
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None
    # False for NaN too.
    return seconds if 0 <= seconds <= MAX_EXPIRES_IN_SECONDS else None


def _times(token: UnverifiedToken) -> _Times:
    """The token's own times; none of an opaque token or of a JWT that cannot be read."""
    try:
        times = msgspec.convert(parse(token, padded=False).claims, _Times)
    except (Rejected, msgspec.ValidationError, OverflowError):
        return _Times()
    return _Times(iat=_date(times.iat), exp=_date(times.exp))


def _date(time: float | None) -> float | None:
    is_date = time is not None and isfinite(time) and 0 <= time < _FIRST_MILLISECONDS
    return time if is_date else None
