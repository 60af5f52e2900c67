"""The caller that the claims of a Bearer token name, by the claim rules of its issuer."""

from byline.identity.caller import Caller, Kind
from byline.identity.claim_conditions import filled, hold, subject_at, text_at
from byline.identity.claims import SignedClaims, clean_text, optional_text
from byline.identity.issuer_profiles import Profile
from byline.identity.trusted_issuers import TrustedIssuer

_CLIENT_CLAIMS = ("azp", "client_id", "cid", "appid")
"""The client that a token was issued to: OpenID Connect, RFC 9068, Okta, Entra's version 1."""


def caller_of(issuer: TrustedIssuer, profile: Profile, claims: SignedClaims) -> Caller:
    """The caller that the verified `claims` name."""
    subject = subject_at(profile.subject, claims)
    token_subject = text_at(claims, "sub") or subject
    configured = issuer.service_accounts.get(token_subject) or issuer.service_accounts.get(subject)
    if token_subject in issuer.service_accounts:
        subject = token_subject
    kind = "application" if configured else _kind_of(profile, claims)
    return Caller(
        kind=kind,
        source="bearer",
        issuer=issuer.issuer,
        subject=subject,
        token_subject=token_subject,
        name=configured or _name_of(profile, claims) or subject,
        given_name=optional_text(claims, "given_name"),
        family_name=optional_text(claims, "family_name"),
        email=optional_text(claims, "email"),
    )


def userinfo_subjects(caller: Caller, claims: SignedClaims) -> frozenset[str]:
    """The subjects that an answer of userinfo may name: the caller's, and the token's own `sub`.

    A `sub` that is the client's id does not count: all people who use the client have it.
    """
    clients = {text_at(claims, name) for name in _CLIENT_CLAIMS}
    return frozenset({caller.subject} | ({caller.token_subject} - clients))


def _kind_of(profile: Profile, claims: SignedClaims) -> Kind:
    if hold(profile.application_when, claims):
        return "application"
    return "user" if hold(profile.person_when, claims) else "unknown"


def _name_of(profile: Profile, claims: SignedClaims) -> str:
    names = (clean_text(filled(template, claims)) for template in profile.name)
    return next(filter(None, names), "")
