"""Minting tokens at an issuer by client credentials (RFC 6749, section 4.4), and revoking them."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from byline.caching import Clock
from byline.fetch import Answer, AnswerRefused, Fetch, FetchFailed, Post, TimedOut
from byline.identity.unverified import UnverifiedToken
from byline.refresh.timing import KnownToken, MintedToken, is_nearly_dead
from byline.refresh.work_units import MintKey
from refresh_tokens.client_secrets import ClientSecret, Proof
from refresh_tokens.errors import RefreshFailed, failure_of
from refresh_tokens.issuers import PublishedEndpoints
from refresh_tokens.token_answers import is_success, read_token

SILENCE_SECONDS = 15
"""How long an endpoint gets no requests after a timeout. Otherwise each of its clients would wait,
and take time from clients whose issuers answer."""

SILENT_ENDPOINTS = 256
"""The most endpoints with a timeout that are remembered."""

Revocation = Literal["revoked", "not_offered", "failed"]


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
        if not is_success(answer):
            raise failure_of(answer, now=self._now())
        token = read_token(
            answer.body,
            asked_at=asked_at,
            default_lifetime=self._default_lifetime,
            warn=partial(self._warn, key),
        )
        if is_nearly_dead(token.lifetime, full=token.full_lifetime, known=known, now=asked_at):
            # From a cache at the issuer or before it. Everything else in the answer is right.
            raise RefreshFailed("nearly_dead_token", f"{token.lifetime} s are left of the token")
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
        return "revoked" if is_success(answer) else "failed"

    def _token_endpoint(self, client: ClientSecret) -> str:
        endpoint = client.token_endpoint or self._endpoints.get(client.issuer, "token_endpoint")
        if endpoint is None:
            raise RefreshFailed("answer_unusable", "the issuer publishes no token endpoint")
        return endpoint

    def _answer(self, url: str, *, form: dict[str, str], headers: dict[str, str]) -> Answer:
        if self._now() < self._silent_until.get(url, 0):
            raise RefreshFailed("issuer_timeout", "no answer came in time a moment ago")
        try:
            return self._post(url, form=form, headers={"Accept": "application/json", **headers})
        except TimedOut as failure:
            if len(self._silent_until) >= SILENT_ENDPOINTS:
                self._silent_until.clear()
            self._silent_until[url] = self._now() + SILENCE_SECONDS
            raise RefreshFailed("issuer_timeout", str(failure)) from None
        except AnswerRefused as failure:
            raise RefreshFailed("answer_unusable", str(failure)) from None
        except FetchFailed as failure:
            raise RefreshFailed("issuer_unavailable", str(failure)) from None


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
