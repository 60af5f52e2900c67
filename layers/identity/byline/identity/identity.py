"""From a load balancer's event to the caller: choose one credential, then verify it.

The target group that forwarded a request decides which credential counts. No client can forge the
target group. The headers of the other credential are not read, whatever they contain.
"""

import re
import time
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from byline.caching import BoundedCache, Clock
from byline.errors import Rejected
from byline.fetch import Fetch, fetch
from byline.identity.caller import Caller, Source
from byline.identity.claims import required_text
from byline.identity.load_balancer_keys import LoadBalancerKeys
from byline.identity.load_balancer_token import LoadBalancerTokens
from byline.identity.settings import TARGET_GROUP, IdentitySettings
from byline.identity.unverified import UnverifiedToken

if TYPE_CHECKING:
    from byline.identity.bearer_token import BearerTokens

OIDC_DATA = "x-amzn-oidc-data"
"""The load balancer's signed token."""

OIDC_IDENTITY = "x-amzn-oidc-identity"
"""The subject without a signature. Any client can send it past the load balancer."""

REMEMBERED_TOKENS = 2_048

_TARGET_GROUP_ARN = re.compile(rf"({TARGET_GROUP})/[0-9a-f]+")


class Identity:
    """Identifies the caller of each event, as `settings` demand.

    A verified token is remembered by its SHA-256 hash, until the token expires or its key must be
    fetched again. The source is part of the key: a token that was verified as a Bearer token is
    unknown as a load balancer's token, because the checks of the two differ.
    """

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
        self._verified: BoundedCache[tuple[Source, bytes], Caller] = BoundedCache(
            REMEMBERED_TOKENS, now=now
        )
        self.failed_fetches = 0
        """Failed fetches of signing keys since the process started."""

    @cached_property
    def bearer_tokens(self) -> "BearerTokens":
        """The verifier of Bearer tokens, loaded at its first use.

        PyJWT adds 65 ms to a cold start, and a browser's request does not need it.
        """
        from byline.identity.bearer_token import BearerTokens  # noqa: PLC0415

        return BearerTokens(self._settings.trusted_issuers, fetch=self._fetch, now=self._now)

    def identify(self, event: Mapping[str, Any]) -> Caller | None:
        """The verified caller of `event`; None for an anonymous caller where those are allowed.

        Raises `Rejected` (401: the same credential never succeeds) and `Unavailable` (503: the
        signing keys could not be fetched, a retry may succeed).
        """
        caller = self._caller(event)
        if caller is None:
            if self._settings.anonymous == "allow":
                return None
            raise Rejected(
                "no_credentials",
                "The request has no credential that this target group accepts. Sign in, or send"
                " `Authorization: Bearer` with an access token.",
            )
        if caller.kind == "unknown":
            # Where anonymous callers are allowed too: a credential never counts as none.
            raise Rejected(
                "unknown_caller_kind",
                "The token does not prove whether its subject is a person or a service account.",
            )
        return caller

    def verify_bearer(self, token: UnverifiedToken) -> Caller:
        """The person or service account that a Bearer token names. The signature is always checked.

        Raises `Rejected` (the token does not count) and `Unavailable` (the signing keys could not
        be fetched, a retry may succeed).
        """
        return self._verify("bearer", token)

    def _caller(self, event: Mapping[str, Any]) -> Caller | None:
        settings = self._settings
        if settings.trust == "ignore":
            return None
        group = target_group(event)
        if not group:
            return None
        if group == settings.browser_target_group:
            return self._browser_caller(event)
        if group == settings.bearer_target_group:
            return self._bearer_caller(event)
        return None

    def _browser_caller(self, event: Mapping[str, Any]) -> Caller | None:
        data = single_header(event, OIDC_DATA)
        unsigned_subject = single_header(event, OIDC_IDENTITY)
        forwarded = self._settings.trust == "forwarded"
        if data is None:
            # An unsigned subject alone counts only where no signature is checked.
            return self._forwarded_person(unsigned_subject) if forwarded else None
        token = UnverifiedToken(data)
        if forwarded:
            caller = self._load_balancer_tokens.decode_without_signature(token)
        else:
            caller = self._verify("alb", token)
        if unsigned_subject not in (None, caller.token_subject):
            raise Rejected(
                "subject_mismatch",
                f"`{OIDC_IDENTITY}` and the `sub` of `{OIDC_DATA}` differ. Do not send"
                f" `{OIDC_IDENTITY}`: the load balancer sets it.",
            )
        return caller

    def _bearer_caller(self, event: Mapping[str, Any]) -> Caller | None:
        token = bearer_credential(event)
        if token is None:
            return None
        if self._settings.trust == "forwarded":
            return self.bearer_tokens.decode_without_signature(token)
        return self._verify("bearer", token)

    def _verify(self, source: Source, token: UnverifiedToken) -> Caller:
        key = source, sha256(token.text.encode("utf-8", "surrogatepass")).digest()
        if caller := self._verified.get(key):
            return caller
        tokens = self._load_balancer_tokens if source == "alb" else self.bearer_tokens
        try:
            verified = tokens.verify(token)
        finally:
            bearer = self.__dict__.get("bearer_tokens")
            self.failed_fetches = self._load_balancer_keys.failed_fetches + (
                bearer.failed_fetches if bearer else 0
            )
        self._verified.put(key, verified.caller, until=verified.until)
        return verified.caller

    def _forwarded_person(self, unsigned_subject: str | None) -> Caller | None:
        if unsigned_subject is None:
            return None
        if not self._settings.oidc_issuer:
            # A person is (issuer, subject), and an unset policy refuses everyone.
            raise Rejected(
                "untrusted_issuer", "No issuer of browser sign-ins is configured: set OIDC_ISSUER."
            )
        subject = required_text({"sub": unsigned_subject}, "sub")
        return Caller(
            kind="user",
            source="alb",
            issuer=self._settings.oidc_issuer,
            subject=subject,
            token_subject=subject,
            name=subject,
        )


def target_group(event: Mapping[str, Any]) -> str:
    """The target group that forwarded `event`; empty where there is none.

    It is the ARN without the id at its end, which AWS chooses when it makes the group.
    """
    try:
        arn = event["requestContext"]["elb"]["targetGroupArn"]
    except (KeyError, TypeError):
        return ""
    match = _TARGET_GROUP_ARN.fullmatch(arn) if isinstance(arn, str) else None
    return match[1] if match else ""


def header_values(event: Mapping[str, Any], name: str) -> list[str]:
    """All values of the header `name` (lower case), in any spelling and in both event shapes.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html#multi-value-headers
    """
    headers = event.get("multiValueHeaders") or event.get("headers")
    if not isinstance(headers, Mapping):
        return []
    values: list[Any] = []
    for spelling, value in headers.items():
        # The lengths first, because a request has twenty headers and five of them are asked for.
        if len(spelling) == len(name) and spelling.lower() == name:
            values.extend(value if isinstance(value, list) else [value])
    return [value for value in values if isinstance(value, str)]


def single_header(event: Mapping[str, Any], name: str) -> str | None:
    """The value of the header `name` (lower case); None where the header was not sent.

    Raises `Rejected` (`duplicated_header`) for two values, and for two spellings of the name: two
    readers could take different ones.
    """
    values = header_values(event, name)
    if len(values) > 1:
        raise Rejected(
            "duplicated_header", f"The header `{name}` was sent {len(values)} times. Send it once."
        )
    return values[0] if values else None


def bearer_credential(event: Mapping[str, Any]) -> UnverifiedToken | None:
    """The Bearer token (RFC 6750, section 2.1); None without an `Authorization` header.

    Raises `Rejected`: `duplicated_header`, `unsupported_scheme`, `malformed_token`.
    """
    value = single_header(event, "authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer":
        raise Rejected(
            "unsupported_scheme", "The scheme of `Authorization` is not supported. Use `Bearer`."
        )
    token = token.strip(" ")
    if not token:
        raise Rejected("malformed_token", "No token follows `Bearer` in `Authorization`.")
    return UnverifiedToken(token)
