"""Verifying Bearer tokens of trusted issuers (RFC 6750; RFC 9068, section 4; RFC 8725).

The order lets no stranger make us dial out: everything that can be refused without a key is
refused before one is fetched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from byline.caching import BoundedCache, Clock
from byline.fetch import Fetch
from byline.identity.bearer_checks import check_unsigned, issuer_of, key_id, signed_claims
from byline.identity.caller import Caller
from byline.identity.claims import SignedClaims, optional_text, preferred_name, required_text
from byline.identity.discovery import Discovery, discovery
from byline.identity.issuer_keys import IssuerKeys
from byline.identity.issuer_profiles import kind_of, person_of, userinfo_subjects
from byline.identity.settings import TrustedIssuer
from byline.identity.unverified import UnverifiedToken, parse
from byline.identity.userinfo import Incomplete, Userinfo, is_incomplete

CACHED_CALLERS = 1_024
"""Verified tokens remembered by their hash."""


@dataclass(frozen=True, slots=True)
class _Endpoints:
    """What is fetched from one issuer. `userinfo` is None where the configuration leaves it off."""

    discovery: Discovery
    keys: IssuerKeys
    userinfo: Userinfo | None


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    userinfo: Userinfo | None
    incomplete: Incomplete | None


class BearerTokens:
    """Verifies access tokens of the configured issuers. Without one, everybody is refused."""

    def __init__(self, issuers: Sequence[TrustedIssuer], *, fetch: Fetch, now: Clock) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._endpoints = {
            issuer.issuer: _endpoints(issuer, fetch=fetch, now=now) for issuer in issuers
        }
        self._now = now
        self._verified: BoundedCache[bytes, _Verified] = BoundedCache(CACHED_CALLERS, now=now)

    @property
    def failed_fetches(self) -> int:
        """How many fetches of keys, or of where they are, failed since the process started."""
        return sum(
            endpoints.discovery.failed_fetches + endpoints.keys.failed_fetches
            for endpoints in self._endpoints.values()
        )

    def verify(self, token: UnverifiedToken) -> Caller:
        """The person or service account that the token names.

        Raises `Rejected`, and `Unavailable` where the keys cannot be had.
        """
        digest = sha256(token.text.encode("utf-8", "surrogatepass")).digest()
        verified = self._verified.get(digest) or self._verify(token, digest)
        if verified.userinfo is None or verified.incomplete is None:
            return verified.caller
        return verified.userinfo.complete(verified.incomplete, token=token)

    def decode_without_signature(self, token: UnverifiedToken) -> Caller:
        """All of `verify` but the signature and userinfo, for networks without a way out.

        Whoever can reach the function past the load balancer can then be anybody.
        """
        parts = parse(token, padded=False)
        issuer = issuer_of(parts, self._issuers)
        check_unsigned(parts, issuer, now=self._now())
        return _caller(issuer, signed_claims(parts))

    def _verify(self, token: UnverifiedToken, digest: bytes) -> _Verified:
        parts = parse(token, padded=False)
        issuer = issuer_of(parts, self._issuers)
        expiry = check_unsigned(parts, issuer, now=self._now())
        endpoints = self._endpoints[issuer.issuer]
        key = endpoints.keys.get(key_id(parts.header), parts.header["alg"])
        key.check(parts.signature, signed=parts.signed)
        claims = signed_claims(parts)
        caller = _caller(issuer, claims)
        incomplete = None
        if endpoints.userinfo is not None and is_incomplete(caller):
            incomplete = Incomplete(caller, digest, expiry, userinfo_subjects(issuer, claims))
        verified = _Verified(caller, endpoints.userinfo, incomplete)
        # No longer than the key is believed without a fetch.
        self._verified.put(digest, verified, until=min(expiry, key.fresh_until))
        return verified


def _endpoints(issuer: TrustedIssuer, *, fetch: Fetch, now: Clock) -> _Endpoints:
    document = discovery(issuer.issuer, fetch=fetch, now=now)
    return _Endpoints(
        discovery=document,
        keys=IssuerKeys(issuer, discovery=document, fetch=fetch, now=now),
        userinfo=Userinfo(discovery=document, fetch=fetch, now=now) if issuer.userinfo else None,
    )


def _caller(issuer: TrustedIssuer, claims: SignedClaims) -> Caller:
    token_subject = required_text(claims, "sub")
    kind = kind_of(issuer, claims)
    subject = person_of(issuer, claims) if kind == "user" else token_subject
    name = preferred_name(claims, subject)
    return Caller(
        kind=kind,
        source="bearer",
        issuer=issuer.issuer,
        subject=subject,
        token_subject=token_subject,
        name=issuer.service_accounts.get(token_subject, name),
        given_name=optional_text(claims, "given_name"),
        family_name=optional_text(claims, "family_name"),
        email=optional_text(claims, "email"),
    )
