"""The tokens of a person who signed in with `byline login`, refreshed when they end."""

import time
from pathlib import Path

from byline_client.credentials.cached import EARLY_SECONDS
from byline_client.discovery import http_client
from byline_client.errors import ServiceUnavailable, SignInRequired
from byline_client.oauth import GrantRefused, request_tokens
from byline_client.private_files import locked
from byline_client.secret_text import SecretText
from byline_client.settings import SignInProfile
from byline_client.token_store import StoredTokens, open_store


class SignedInTokens:
    """The tokens of a profile. Several processes may use it: one refreshes, the others read."""

    def __init__(self, profile: SignInProfile, folder: Path) -> None:
        self._profile = profile
        self._store = open_store(profile.store, folder)
        self._lock = folder / "tokens" / f"{profile.name}.lock"
        self._tokens: StoredTokens | None = None

    def token(self, *, renew: bool = False) -> SecretText:
        """A token that is valid now. Raises `SignInRequired` when the sign-in has ended."""
        if self._tokens is None:
            self._tokens = self._read()
        if renew or self._ends_soon(self._tokens):
            self._tokens = self._refreshed(self._tokens, is_refused=renew)
        return self._tokens.access_token

    def _read(self) -> StoredTokens:
        tokens = self._store.read(self._profile.name)
        if tokens is None:
            raise SignInRequired(f"You are signed out. Run `byline login {self._profile.url}`.")
        return tokens

    @staticmethod
    def _ends_soon(tokens: StoredTokens) -> bool:
        return time.time() > tokens.expires_at - EARLY_SECONDS

    def _refreshed(self, old: StoredTokens, *, is_refused: bool) -> StoredTokens:
        # A refresh token works once at many issuers, so one process at a time may send it.
        with locked(self._lock):
            stored = self._read()
            is_new = stored.access_token.reveal() != old.access_token.reveal()
            if is_new and not self._ends_soon(stored):
                return stored
            if stored.refresh_token is None:
                raise self._ended("it has no refresh token")
            form = {
                "grant_type": "refresh_token",
                "refresh_token": stored.refresh_token.reveal(),
                "client_id": self._profile.client_id,
            }
            try:
                with http_client() as http:
                    granted = request_tokens(self._profile.token_endpoint, form, http)
            except GrantRefused as refused:
                raise self._ended(refused.code) from None
            except ServiceUnavailable:
                if not is_refused and time.time() < stored.expires_at:
                    return stored  # it is valid for some seconds more
                raise
            # Without rotation the issuer sends no other refresh token (RFC 6749, section 6).
            refresh = granted.refresh_token or stored.refresh_token
            tokens = StoredTokens(granted.access_token, refresh, granted.expires_at)
            self._store.write(self._profile.name, tokens)
            return tokens

    def _ended(self, why: str) -> SignInRequired:
        url = self._profile.url
        return SignInRequired(f"Your sign-in has ended ({why}). Run `byline login {url}`.")
