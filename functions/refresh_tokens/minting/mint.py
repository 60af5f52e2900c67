"""Minting tokens at an issuer by client credentials (RFC 6749, section 4.4), and revoking them.

A mint is one request and one answer, and an error says what happens next. When to try again is for
the caller to decide.
"""

from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from byline.caching import BoundedCache, Clock
from byline.errors import Unavailable
from byline.fetch import Answer, AnswerRefused, Fetch, FetchFailed, Post, TimedOut
from byline.identity.discovery import Discovery, discovery, require_as_private
from byline.identity.unverified import UnverifiedToken
from byline.refresh.timing import KnownToken, is_nearly_dead, lifetime_of
from byline.refresh.work_units import MintKey
from refresh_tokens.clients.secrets import ClientSecret
from refresh_tokens.errors import RefreshFailed
from refresh_tokens.minting.answers import GivenToken, read_token

CACHED_ISSUERS = 256

SILENCE_SECONDS = 15
"""For how long an endpoint that gave no answer in time is not asked again. Waiting for it anew with
every client would take the time of all whose issuers are well."""

Revocation = Literal["revoked", "not_offered", "failed"]

_Endpoint = Literal["token_endpoint", "revocation_endpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedToken:
    """A Bearer token as an issuer gave it out. Times are whole seconds since the epoch.

    `issued_at`: when it was asked for, so never later than it began to count. `lifetime`: for how
    long it can be used from then on, up to `expires_at`. `full_lifetime`: what it had at first,
    where it tells; more than `lifetime` where it came out of a cache.
    """

    text: str = field(repr=False)
    issued_at: int
    lifetime: int
    full_lifetime: float | None = None

    @property
    def token_type(self) -> Literal["Bearer"]:
        return "Bearer"

    @property
    def expires_at(self) -> int:
        return self.issued_at + self.lifetime


class Mint:
    """Asks issuers for tokens.

    `default_lifetime`, in seconds, is that of tokens of which nobody says how long they live.
    """

    def __init__(self, *, post: Post, fetch: Fetch, now: Clock, default_lifetime: int) -> None:
        self._post = post
        self._fetch = fetch
        self._now = now
        self._default_lifetime = default_lifetime
        self._issuers: BoundedCache[str, Discovery] = BoundedCache(CACHED_ISSUERS, now=now)
        self._silent: BoundedCache[str, TimedOut] = BoundedCache(CACHED_ISSUERS, now=now)
        self._lock = Lock()

    def mint(
        self, key: MintKey, client: ClientSecret, *, known: KnownToken | None = None
    ) -> MintedToken:
        """A new token for `key`, as `client`. Raises `RefreshFailed`.

        `known`: the token that it is to replace; of several the one that ends first.
        """
        endpoint = self._token_endpoint(client)
        asked_at = self._now()
        proof = client.authentication.prove(audience=endpoint, now=asked_at)
        form = {"grant_type": "client_credentials", **_wanted(key), **proof.form}
        answer = self._answer(endpoint, form=form, headers=proof.headers)
        given = read_token(answer, now=self._now())
        return self._minted(given, known=known, asked_at=asked_at)

    def revoke(self, token: UnverifiedToken, client: ClientSecret) -> Revocation:
        """Tell the issuer that `token` is used no more (RFC 7009). Best effort: never an error.

        The endpoint is found by discovery; a client that names only its token endpoint has none.
        """
        if not client.issuer:
            return "not_offered"
        try:
            endpoint = self._discovered(client.issuer, "revocation_endpoint")
            if endpoint is None:
                return "not_offered"
            audience = self._token_endpoint(client)
            proof = client.authentication.prove(audience=audience, now=self._now())
            form = {"token": token.text, "token_type_hint": "access_token", **proof.form}
            answer = self._answer(endpoint, form=form, headers=proof.headers)
        except RefreshFailed:
            return "failed"
        return "revoked" if answer.status == 200 else "failed"

    def _token_endpoint(self, client: ClientSecret) -> str:
        endpoint = client.token_endpoint or self._discovered(client.issuer, "token_endpoint")
        if endpoint is None:
            raise RefreshFailed("answer_unusable", "the issuer publishes no token endpoint")
        return endpoint

    def _discovered(self, issuer: str, name: _Endpoint) -> str | None:
        """What the issuer publishes, None where it does not. Raises `RefreshFailed`."""
        with self._lock:
            document = self._issuers.get(issuer)
            if document is None:
                document = discovery(issuer, fetch=self._fetch, now=self._now)
                self._issuers.put(issuer, document, until=float("inf"))
        try:
            endpoint: str | None = getattr(document.get().value, name)
            if endpoint is not None:
                require_as_private(endpoint, issuer)
        except Unavailable as error:
            raise RefreshFailed("issuer_unavailable", str(error)) from None
        except FetchFailed as failure:
            raise RefreshFailed("answer_unusable", str(failure)) from None
        return endpoint

    def _answer(self, url: str, *, form: dict[str, str], headers: dict[str, str]) -> Answer:
        if self._silent.get(url) is not None:
            raise RefreshFailed("issuer_timeout", "no answer came in time a moment ago")
        try:
            return self._post(url, form=form, headers={"Accept": "application/json", **headers})
        except TimedOut as failure:
            self._silent.put(url, failure, until=self._now() + SILENCE_SECONDS)
            raise RefreshFailed("issuer_timeout", str(failure)) from None
        except AnswerRefused as failure:
            raise RefreshFailed("answer_unusable", str(failure)) from None
        except FetchFailed as failure:
            raise RefreshFailed("issuer_unavailable", str(failure)) from None

    def _minted(
        self, given: GivenToken, *, known: KnownToken | None, asked_at: float
    ) -> MintedToken:
        lifetime = lifetime_of(
            expires_in=given.expires_in,
            issued=given.issued,
            expires=given.expires,
            now=asked_at,
            default=self._default_lifetime,
        )
        if is_nearly_dead(lifetime, full=given.full_lifetime, known=known, now=asked_at):
            # Out of a cache of the issuer's or of something before it. It looks like success.
            raise RefreshFailed("nearly_dead_token", f"{lifetime} s are left of the token")
        return MintedToken(
            text=given.token.text,
            issued_at=int(asked_at),
            lifetime=lifetime,
            full_lifetime=given.full_lifetime,
        )


def _wanted(key: MintKey) -> dict[str, str]:
    """RFC 6749, section 4.4.2; RFC 8707, section 2; `audience` as Auth0 and RFC 8693 take it."""
    wanted = {"audience": key.audience, "resource": key.resource, "scope": " ".join(key.scopes)}
    return {name: value for name, value in wanted.items() if value}
