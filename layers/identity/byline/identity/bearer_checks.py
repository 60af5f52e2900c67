"""Every check of a Bearer token that needs no key: whatever fails here makes nobody dial out."""

from collections.abc import Mapping

from byline.errors import Rejected
from byline.identity.claims import SignedClaims, required_text
from byline.identity.issuer_profiles import check_token_type
from byline.identity.settings import TrustedIssuer
from byline.identity.unverified import UnverifiedClaims, UnverifiedHeader, UnverifiedParts

LEEWAY_SECONDS = 30
"""By how much an issuer's clock may be ahead of ours for `nbf` and `iat`. `exp` has none: a token's
time is the issuer's to choose."""

_EARLIEST_CLAIMS = ("nbf", "iat")


def issuer_of(parts: UnverifiedParts, issuers: Mapping[str, TrustedIssuer]) -> TrustedIssuer:
    """The one configured issuer that `iss` is equal to (RFC 8725, section 3.8).

    Raises `Rejected` (`untrusted_issuer`).
    """
    name = parts.claims.get("iss")
    issuer = issuers.get(name) if isinstance(name, str) else None
    if issuer is None:
        raise Rejected(
            "untrusted_issuer",
            "nobody trusts this issuer",
            expected=sorted(issuers),
            actual=name,
        )
    return issuer


def check_unsigned(parts: UnverifiedParts, issuer: TrustedIssuer, *, now: float) -> float:
    """Check header and claims against `issuer`; the time until which the token counts.

    Times are seconds since the epoch. Raises `Rejected`.
    """
    _check_header(parts.header, issuer)
    _check_audience(parts.claims, issuer)
    expiry = _check_times(parts.claims, now=now)
    required_text(parts.claims, "sub")
    check_token_type(issuer.profile, parts.header, parts.claims)
    return expiry


def key_id(header: UnverifiedHeader) -> str | None:
    """The `kid`, None where there is none.

    The only hint of a key that is taken from a token: `jku`, `x5u`, `jwk` and `x5c` would let its
    author bring the key along (RFC 8725, section 3.10). Raises `Rejected` (`malformed_token`).
    """
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise Rejected("malformed_token", "`kid` is not text")
    return kid


def signed_claims(parts: UnverifiedParts) -> SignedClaims:
    """The claims, from here on believed. For use after the signature's check, or in place of it."""
    return SignedClaims(parts.claims)


def _check_header(header: UnverifiedHeader, issuer: TrustedIssuer) -> None:
    algorithm = header.get("alg")
    if algorithm not in issuer.algorithms:
        raise Rejected(
            "unsupported_algorithm",
            "the issuer is not configured to sign with this algorithm",
            expected=list(issuer.algorithms),
            actual=algorithm,
        )
    if "crit" in header:
        # RFC 7515, 4.1.11: extensions we do not know must not be passed over.
        raise Rejected("unsupported_critical_header", "the header demands an extension")


def _check_audience(claims: UnverifiedClaims, issuer: TrustedIssuer) -> None:
    """RFC 7519, section 4.1.3. Cognito leaves `aud` out unless the token is bound to a resource."""
    name = "client_id" if issuer.profile == "cognito" and "aud" not in claims else "aud"
    value = claims.get(name)
    if value is None:
        raise Rejected("missing_claim", f"the token has no `{name}`")
    audiences = value if isinstance(value, list) else [value]
    if not all(isinstance(audience, str) for audience in audiences):
        raise Rejected("malformed_claim", f"`{name}` is neither text nor a list of it")
    if set(issuer.audiences).isdisjoint(audiences):
        raise Rejected(
            "untrusted_audience",
            "the token is for somebody else",
            expected=list(issuer.audiences),
            actual=audiences,
        )


def _check_times(claims: UnverifiedClaims, *, now: float) -> float:
    """RFC 7519, sections 4.1.4–4.1.6."""
    if claims.get("exp") is None:
        raise Rejected("missing_claim", "the token has no `exp`")
    expiry = _seconds(claims, "exp")
    if expiry <= now:
        raise Rejected("expired", "the token's time is over", expected=now, actual=expiry)
    for name in _EARLIEST_CLAIMS:
        if name in claims and (earliest := _seconds(claims, name)) > now + LEEWAY_SECONDS:
            raise Rejected(
                "not_yet_valid", f"`{name}` is in the future", expected=now, actual=earliest
            )
    return expiry


def _seconds(claims: UnverifiedClaims, name: str) -> float:
    """A NumericDate (RFC 7519, section 2): a number, of which `true` is none."""
    value = claims[name]
    if type(value) not in (int, float):
        raise Rejected("malformed_claim", f"`{name}` is not a number of seconds")
    try:
        return float(value)
    except OverflowError:
        raise Rejected("malformed_claim", f"`{name}` is not a time") from None
