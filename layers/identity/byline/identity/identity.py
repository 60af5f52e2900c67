"""From a load balancer's event to the caller: one credential, followed to its end."""

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from byline.caching import Clock
from byline.errors import Rejected
from byline.fetch import Fetch, fetch
from byline.identity.caller import Caller
from byline.identity.claims import required_text
from byline.identity.load_balancer_keys import LoadBalancerKeys
from byline.identity.load_balancer_token import LoadBalancerTokens
from byline.identity.request_credentials import (
    OIDC_IDENTITY,
    bearer_credential,
    browser_credential,
    single_header,
    target_group,
)
from byline.identity.settings import IdentitySettings

if TYPE_CHECKING:
    from byline.identity.bearer_token import BearerTokens


class Identity:
    """Says who sent an event, by `settings`."""

    def __init__(
        self, settings: IdentitySettings, *, fetch: Fetch = fetch, now: Clock = time.time
    ) -> None:
        self._settings = settings
        self._fetch = fetch
        self._now = now
        self._load_balancer_keys = LoadBalancerKeys(fetch=fetch, now=now)
        self._load_balancer_tokens = LoadBalancerTokens(
            settings, keys=self._load_balancer_keys, now=now
        )

    @cached_property
    def bearer_tokens(self) -> "BearerTokens":
        """The Bearer path. PyJWT costs 65 ms of cold start, so a browser's request goes without."""
        from byline.identity.bearer_token import BearerTokens  # noqa: PLC0415

        return BearerTokens(self._settings.trusted_issuers, fetch=self._fetch, now=self._now)

    def identify(self, event: Mapping[str, Any]) -> Caller | None:
        """The verified caller; None for nobody, where the settings allow nobody to call.

        Raises `Rejected` (401) and `Unavailable` (503).
        """
        caller = self._verified_caller(event)
        if caller is not None and caller.kind != "unknown":
            return caller
        if self._settings.anonymous == "allow":
            return None
        if caller is None:
            raise Rejected("no_credentials", "the request carries no credential that counts")
        raise Rejected(
            "unknown_caller_kind",
            "the token does not tell whether this is a person or a service account",
        )

    def failed_fetches(self) -> int:
        """How many fetches of keys failed since the process started."""
        bearer = self.__dict__.get("bearer_tokens")
        return self._load_balancer_keys.failed_fetches + (bearer.failed_fetches if bearer else 0)

    def _verified_caller(self, event: Mapping[str, Any]) -> Caller | None:
        settings = self._settings
        if settings.trust == "ignore":
            return None
        group = target_group(event)
        if not group:
            return None
        if group == settings.browser_target_group:
            return self._browser(event)
        if group == settings.bearer_target_group:
            return self._bearer(event)
        return None

    def _browser(self, event: Mapping[str, Any]) -> Caller | None:
        credential = browser_credential(event)
        if credential is None:
            # `x-amzn-oidc-identity` is unsigned: alone it counts only where nothing is checked.
            if self._settings.trust == "forwarded":
                return self._forwarded_subject(event)
            return None
        if self._settings.trust == "forwarded":
            caller = self._load_balancer_tokens.decode_without_signature(credential.token)
        else:
            caller = self._load_balancer_tokens.verify(credential.token)
        if credential.unsigned_subject not in (None, caller.token_subject):
            raise Rejected(
                "subject_mismatch", f"`{OIDC_IDENTITY}` names another subject than the token"
            )
        return caller

    def _forwarded_subject(self, event: Mapping[str, Any]) -> Caller | None:
        unsigned_subject = single_header(event, OIDC_IDENTITY)
        if unsigned_subject is None:
            return None
        if not self._settings.oidc_issuer:
            # A person is (issuer, subject): an unset policy refuses everyone.
            raise Rejected("untrusted_issuer", "nothing is configured to sign browsers in")
        subject = required_text({"sub": unsigned_subject}, "sub")
        return Caller(
            kind="user",
            source="alb",
            issuer=self._settings.oidc_issuer,
            subject=subject,
            token_subject=subject,
            name=subject,
        )

    def _bearer(self, event: Mapping[str, Any]) -> Caller | None:
        token = bearer_credential(event)
        if token is None:
            return None
        if self._settings.trust == "forwarded":
            return self.bearer_tokens.decode_without_signature(token)
        return self.bearer_tokens.verify(token)
