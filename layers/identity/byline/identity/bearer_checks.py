"""Every check of a Bearer token that needs no key.

These checks run before a key is fetched, so a token that fails one of them causes no request.
"""

from collections.abc import Mapping

from byline.errors import Rejected
from byline.identity.claim_conditions import hold, subject_at
from byline.identity.claims import SignedClaims
from byline.identity.delegation import actors_of
from byline.identity.issuer_profiles import Profile
from byline.identity.trusted_issuers import TrustedIssuer
from byline.identity.unverified import UnverifiedClaims, UnverifiedHeader, UnverifiedParts

LEEWAY_SECONDS = 30
"""How far an issuer's clock may be ahead of Lambda's, for `nbf` and `iat`. `exp` has no leeway: the
issuer chooses how long a token lives."""

_EARLIEST_CLAIMS = ("nbf", "iat")
_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_UNTYPED = frozenset({None, "jwt"})


def issuer_of(parts: UnverifiedParts, issuers: Mapping[str, TrustedIssuer]) -> TrustedIssuer:
    """The configured issuer whose name equals `iss` (RFC 8725, section 3.8).

    Raises `Rejected` (`untrusted_issuer`).
    """
    name = parts.claims.get("iss")
    issuer = issuers.get(name) if isinstance(name, str) else None
    if issuer is None:
        raise Rejected(
            "untrusted_issuer",
            "The token's issuer is not trusted. An operator can add it to TRUSTED_ISSUERS.",
            expected=sorted(issuers),
            actual=name,
        )
    return issuer


def check_unsigned(
    parts: UnverifiedParts, issuer: TrustedIssuer, profile: Profile, *, now: float
) -> float:
    """Check header and claims against `issuer`, and return the token's expiry.

    Times are seconds since the epoch. Raises `Rejected` for the first check that fails.
    """
    _check_header(parts.header, issuer)
    _check_audience(parts.claims, issuer)
    expiry = _check_times(parts.claims, now=now)
    subject_at(profile.subject, parts.claims)
    actors_of(parts.claims, issuer)
    _check_token_type(parts.header, parts.claims, profile)
    allowed = issuer.allowed
    if allowed is not None and not hold(allowed, parts.claims):
        raise Rejected(
            "claims_not_allowed",
            "No condition of `allow` for this issuer in TRUSTED_ISSUERS admits the token's claims.",
        )
    return expiry


def key_id(header: UnverifiedHeader) -> str | None:
    """The `kid`; None where it is absent. Raises `Rejected` (`malformed_token`) unless it is text.

    No other hint of a key is read from a token. With `jku`, `x5u`, `jwk` and `x5c` the author of a
    token would choose the key that verifies it (RFC 8725, section 3.10).
    """
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise Rejected("malformed_token", "The token header's `kid` is not text.")
    return kid


def signed_claims(parts: UnverifiedParts) -> SignedClaims:
    """The claims as verified ones. Call it after the check of the signature, or instead of it."""
    return SignedClaims(parts.claims)


def _check_header(header: UnverifiedHeader, issuer: TrustedIssuer) -> None:
    algorithm = header.get("alg")
    if algorithm not in issuer.algorithms:
        raise Rejected(
            "unsupported_algorithm",
            "The token's algorithm is not configured for this issuer. Add it to `algorithms`.",
            expected=list(issuer.algorithms),
            actual=algorithm,
        )
    if "crit" in header:
        # RFC 7515, 4.1.11: an unknown extension must not be ignored.
        raise Rejected(
            "unsupported_critical_header", "The token header's `crit` demands an extension."
        )


def _check_audience(claims: UnverifiedClaims, issuer: TrustedIssuer) -> None:
    """RFC 7519, section 4.1.3. Cognito leaves `aud` out of most tokens, and writes `client_id`."""
    name = "client_id" if issuer.profile == "cognito" and "aud" not in claims else "aud"
    value = claims.get(name)
    if value is None:
        raise Rejected("missing_claim", f"The claim `{name}` is missing.")
    audiences = value if isinstance(value, list) else [value]
    if not all(isinstance(audience, str) for audience in audiences):
        raise Rejected("malformed_claim", f"`{name}` is neither text nor a list of texts.")
    if set(issuer.audiences).isdisjoint(audiences):
        raise Rejected(
            "untrusted_audience",
            "The token's audience is not one that is configured for this issuer.",
            expected=list(issuer.audiences),
            actual=audiences,
        )


def _check_times(claims: UnverifiedClaims, *, now: float) -> float:
    """RFC 7519, sections 4.1.4–4.1.6."""
    if claims.get("exp") is None:
        raise Rejected("missing_claim", "The claim `exp` is missing.")
    expiry = _seconds(claims, "exp")
    if expiry <= now:
        raise Rejected(
            "expired", "The token has expired. Get a new one.", expected=now, actual=expiry
        )
    for name in _EARLIEST_CLAIMS:
        if name in claims and (earliest := _seconds(claims, name)) > now + LEEWAY_SECONDS:
            raise Rejected(
                "not_yet_valid",
                f"The token's `{name}` is more than {LEEWAY_SECONDS} s in the future.",
                expected=now,
                actual=earliest,
            )
    return expiry


def _seconds(claims: UnverifiedClaims, name: str) -> float:
    """A NumericDate (RFC 7519, section 2). It is a number, and `true` is not one."""
    value = claims[name]
    if type(value) not in (int, float):
        raise Rejected("malformed_claim", f"`{name}` is not a number of seconds.")
    try:
        return float(value)
    except OverflowError:
        raise Rejected("malformed_claim", f"`{name}` is too large to be a time.") from None


def _check_token_type(header: UnverifiedHeader, claims: UnverifiedClaims, profile: Profile) -> None:
    """Raise `Rejected` (`wrong_token_type`) unless the token is an access token.

    RFC 9068, section 2.1: the header of an access token has the type `at+jwt`. Most providers leave
    the type out or write `JWT`. Such a token passes where the profile's claim rule proves that it
    is an access token. A token of any other type never passes: a logout token, or Okta's tokens for
    its own API.
    """
    typ = header.get("typ")
    if typ is not None and not isinstance(typ, str):
        raise Rejected("malformed_token", "The token header's `typ` is not text.")
    if "cnf" in claims:
        # RFC 7800: the sender must prove that they hold a key, and nothing here checks that.
        raise Rejected(
            "wrong_token_type",
            "The token is bound to a key (`cnf`), which is not supported. Send a plain Bearer"
            " token.",
        )
    media_type = None if typ is None else typ.lower()  # RFC 2045, 5.1: case has no meaning
    if media_type in _ACCESS_TOKEN_TYPES and not profile.is_typed_by_claims:
        return
    may_be_one = media_type in _ACCESS_TOKEN_TYPES | _UNTYPED
    if not may_be_one or not hold(profile.access_token_when, claims):
        raise Rejected(
            "wrong_token_type",
            "The token is not an access token. Send the access token of the sign-in, not the ID"
            " token.",
        )
