"""Minting tokens at an issuer by client credentials (RFC 6749, section 4.4), and revoking them.

Issuers differ in everything but the token itself, so members of an answer that are wrong count as
missing. A token's own times are read without verification, for timing only: no access depends on
them.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Literal

import msgspec

from byline.caching import Clock
from byline.fetch import Answer, AnswerRefused, Fetch, FetchFailed, Post, TimedOut
from byline.identity.unverified import UnverifiedToken
from byline.refresh.timing import DAY_SECONDS, KnownToken, MintedToken, is_nearly_dead, lifetime_of
from byline.refresh.work_units import MintKey
from refresh_tokens.client_secrets import ClientSecret, Proof
from refresh_tokens.errors import ErrorClass, RefreshFailed, failure_of
from refresh_tokens.issuers import PublishedEndpoints

SILENCE_SECONDS = 15
"""How long an endpoint gets no requests after a timeout. Otherwise each of its clients would wait,
and take time from clients whose issuers answer."""

SILENT_ENDPOINTS = 256
"""The most endpoints with a timeout that are remembered."""

MAX_TOKEN_CHARACTERS = 60_000
"""A secret takes 65,536 bytes, and holds more than the token."""

MAX_EXPIRES_IN_SECONDS = 400 * DAY_SECONDS
"""A larger `expires_in` is no lifetime: the date of the expiry in seconds, or milliseconds."""

_FIRST_MILLISECONDS = 1e11
"""A larger time is not in seconds since the epoch: that would be after the year 5000."""

_BEARER = re.compile(r"(jwt[-_ ]?)?bearer([-_ ]?token)?", re.IGNORECASE)
"""Some issuers write `BearerToken` or `jwt-bearer`, and some leave the type out."""

_WORD = re.compile(r"[a-z_-]{1,16}", re.IGNORECASE)

Revocation = Literal["revoked", "not_offered", "failed"]


class _TokenAnswer(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str | None = None
    expires_in: msgspec.Raw = msgspec.Raw(b"null")

    def __repr__(self) -> str:
        return "<answer of a token endpoint>"


class _Times(msgspec.Struct, frozen=True):
    iat: float | None = None
    exp: float | None = None


class Mint:
    """Asks issuers for tokens. Safe for several threads.

    `default_lifetime`, in seconds, is for tokens whose lifetime is unknown. `warn` gets a mint key
    and a sentence about its issuer's answer, without text of it.
    """

    def __init__(
        self,
        *,
        post: Post,
        fetch: Fetch,
        now: Clock,
        default_lifetime: int,
        warn: Callable[[MintKey, str], None],
    ) -> None:
        self._post = post
        self._now = now
        self._default_lifetime = default_lifetime
        self._warn = warn
        self._endpoints = PublishedEndpoints(fetch=fetch, now=now)
        self._silent_until: dict[str, float] = {}

    def mint(
        self, key: MintKey, client: ClientSecret, *, known: KnownToken | None = None
    ) -> MintedToken:
        """A new token for `key`, minted as `client`. Raises `RefreshFailed`.

        `known`: the token that it replaces.
        """
        endpoint = self._token_endpoint(client)
        asked_at = self._now()
        proof = _proof(client, endpoint=endpoint, now=asked_at)
        form = {"grant_type": "client_credentials", **_requested(key), **proof.form}
        answer = self._answer(endpoint, form=form, headers=proof.headers)
        if not _is_success(answer):
            raise failure_of(answer, now=self._now())
        token = _read_token(
            answer.body,
            asked_at=asked_at,
            default_lifetime=self._default_lifetime,
            warn=partial(self._warn, key),
        )
        if is_nearly_dead(token.lifetime, full=token.full_lifetime, known=known, now=asked_at):
            # From a cache at the issuer or before it. Everything else in the answer is right.
            raise RefreshFailed(
                "nearly_dead_token",
                f"The new token has only {token.lifetime} seconds left: it comes from a cache.",
            )
        return token

    def revoke(self, token: UnverifiedToken, client: ClientSecret) -> Revocation:
        """Ask the issuer to end `token` (RFC 7009). Best effort: it never raises.

        The endpoint is found by discovery. A client that names its token endpoint has no issuer, so
        it has none.
        """
        if not client.issuer:
            return "not_offered"
        try:
            endpoint = self._endpoints.get(client.issuer, "revocation_endpoint")
            if endpoint is None:
                return "not_offered"
            proof = _proof(client, endpoint=self._token_endpoint(client), now=self._now())
            form = {"token": token.text, "token_type_hint": "access_token", **proof.form}
            answer = self._answer(endpoint, form=form, headers=proof.headers)
        except RefreshFailed:
            return "failed"
        return "revoked" if _is_success(answer) else "failed"

    def _token_endpoint(self, client: ClientSecret) -> str:
        endpoint = client.token_endpoint or self._endpoints.get(client.issuer, "token_endpoint")
        if endpoint is None:
            raise RefreshFailed(
                "answer_unusable",
                "The issuer's discovery document names no `token_endpoint`.",
            )
        return endpoint

    def _answer(self, url: str, *, form: dict[str, str], headers: dict[str, str]) -> Answer:
        if self._now() < self._silent_until.get(url, 0):
            raise RefreshFailed(
                "issuer_timeout", "The token endpoint did not answer in time a moment ago."
            )
        try:
            return self._post(url, form=form, headers={"Accept": "application/json", **headers})
        except TimedOut as failure:
            if len(self._silent_until) >= SILENT_ENDPOINTS:
                self._silent_until.clear()
            self._silent_until[url] = self._now() + SILENCE_SECONDS
            raise _failure("issuer_timeout", failure) from None
        except AnswerRefused as failure:
            raise _failure("answer_unusable", failure) from None
        except FetchFailed as failure:
            raise _failure("issuer_unavailable", failure) from None


def _failure(error_class: ErrorClass, failure: FetchFailed) -> RefreshFailed:
    return RefreshFailed(error_class, f"The token endpoint gave no usable answer: {failure}.")


def _proof(client: ClientSecret, *, endpoint: str, now: float) -> Proof:
    """The client's proof. An assertion is for the issuer, where the client names one.

    An issuer that publishes another one's endpoint as its own then cannot use the assertion there
    (FAPI 2.0 Security Profile).
    """
    return client.authentication.prove(audience=client.issuer or endpoint, now=now)


def _requested(key: MintKey) -> dict[str, str]:
    """RFC 6749, section 4.4.2; RFC 8707, section 2; `audience` as Auth0 and RFC 8693 take it."""
    requested = {"audience": key.audience, "resource": key.resource, "scope": " ".join(key.scopes)}
    return {name: value for name, value in requested.items() if value}


def _is_success(answer: Answer) -> bool:
    """Whether the issuer did what was asked. Some answer 201 where the standard has 200."""
    return 200 <= answer.status < 300


def _read_token(
    body: bytes, *, asked_at: float, default_lifetime: int, warn: Callable[[str], None]
) -> MintedToken:
    """The token of a successful answer. Raises `RefreshFailed` (`answer_unusable`).

    `warn` gets a sentence about a member that was ignored. It quotes no text of the answer.
    """
    answer = _decoded(body)
    if answer is None:
        raise RefreshFailed(
            "answer_unusable", "The token endpoint's answer is not JSON with an `access_token`."
        )
    if (name := (answer.token_type or "").strip()) and not _BEARER.fullmatch(name):
        # Another text than a plain word is not quoted: it may be anything.
        named = f"`{name}`" if _WORD.fullmatch(name) else "another type"
        raise RefreshFailed("answer_unusable", f"The token's type is {named} and not Bearer.")
    text = answer.access_token
    if not 0 < len(text) <= MAX_TOKEN_CHARACTERS:
        raise RefreshFailed("answer_unusable", f"The token has {len(text)} characters.")
    if not text.isascii() or not text.isprintable() or " " in text:
        # Its users send it in a header (RFC 6750, section 2.1).
        raise RefreshFailed("answer_unusable", "The token is not printable ASCII.")
    times = _times(text)
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


def _times(token: str) -> _Times:
    """The token's own times; none of an opaque token or of a JWT that cannot be read."""
    try:
        claims = urlsafe_b64decode(token.split(".")[1] + "==")
        times = msgspec.json.decode(claims, type=_Times)
    except (IndexError, ValueError, msgspec.MsgspecError, OverflowError, RecursionError):
        return _Times()
    return _Times(iat=_date(times.iat), exp=_date(times.exp))


def _date(time: float | None) -> float | None:
    is_date = time is not None and isfinite(time) and 0 <= time < _FIRST_MILLISECONDS
    return time if is_date else None
