"""Verification of Bearer tokens of trusted issuers (RFC 6750; RFC 9068, section 4; RFC 8725).

All checks that need no key come first. So a stranger's token causes no request to an issuer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from byline.caching import Clock
from byline.fetch import Fetch
from byline.identity.bearer_checks import check_unsigned, issuer_of, key_id, signed_claims
from byline.identity.bearer_subjects import caller_of, userinfo_subjects
from byline.identity.caller import Caller, Verified
from byline.identity.discovery import Discovery, discovery
from byline.identity.issuer_keys import IssuerKeys
from byline.identity.issuer_profiles import profile_of
from byline.identity.trusted_issuers import TrustedIssuer
from byline.identity.unverified import UnverifiedToken, parse
from byline.identity.userinfo import Incomplete, Userinfo, is_incomplete


@dataclass(frozen=True, slots=True)
class _Endpoints:
    """The documents and keys of one issuer. `userinfo` is None where it is not configured."""

    discovery: Discovery
    keys: IssuerKeys
    userinfo: Userinfo | None


class BearerTokens:
    """Verifies access tokens of the configured issuers; without an issuer it refuses all tokens."""

    def __init__(self, issuers: Sequence[TrustedIssuer], *, fetch: Fetch, now: Clock) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._profiles = {issuer.issuer: profile_of(issuer) for issuer in issuers}
        self._endpoints = {
            issuer.issuer: _endpoints(issuer, fetch=fetch, now=now) for issuer in issuers
        }
        self._now = now

    @property
    def failed_fetches(self) -> int:
        """How many fetches of keys and discovery documents failed since the process started."""
        return sum(
            endpoints.discovery.failed_fetches + endpoints.keys.failed_fetches
            for endpoints in self._endpoints.values()
        )

    def verify(self, token: UnverifiedToken) -> Verified:
        """The person or service account that the token names, and until when it counts.

        Raises `Rejected`, and `Unavailable` where the signing keys could not be fetched.
        """
        parts = parse(token, padded=False)
        issuer = issuer_of(parts, self._issuers)
        profile = self._profiles[issuer.issuer]
        expiry = check_unsigned(parts, issuer, profile, now=self._now())
        endpoints = self._endpoints[issuer.issuer]
        key = endpoints.keys.get(key_id(parts.header), parts.header["alg"])
        key.check(parts.signature, signed=parts.signed)
        claims = signed_claims(parts)
        # A token counts no longer than its key counts without a fetch.
        verified = Verified(caller_of(issuer, profile, claims), until=min(expiry, key.fresh_until))
        if endpoints.userinfo is None or not is_incomplete(verified.caller):
            return verified
        subjects = userinfo_subjects(verified.caller, claims)
        incomplete = Incomplete(verified.caller, expiry, subjects)
        completed = endpoints.userinfo.complete(incomplete, token=token)
        return Verified(completed.caller, until=min(verified.until, completed.until))

    def decode_without_signature(self, token: UnverifiedToken) -> Caller:
        """The caller after all checks of `verify` but the signature, and without userinfo.

        It makes no request, for networks without internet access. Anyone who can invoke the
        function without the load balancer can then claim to be any caller. Raises `Rejected`.
        """
        parts = parse(token, padded=False)
        issuer = issuer_of(parts, self._issuers)
        profile = self._profiles[issuer.issuer]
        check_unsigned(parts, issuer, profile, now=self._now())
        return caller_of(issuer, profile, signed_claims(parts))


def _endpoints(issuer: TrustedIssuer, *, fetch: Fetch, now: Clock) -> _Endpoints:
    document = discovery(issuer.issuer, fetch=fetch, now=now)
    return _Endpoints(
        discovery=document,
        keys=IssuerKeys(issuer, discovery=document, fetch=fetch, now=now),
        userinfo=Userinfo(discovery=document, fetch=fetch, now=now) if issuer.userinfo else None,
    )
