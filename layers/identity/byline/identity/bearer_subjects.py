"""The caller that the claims of a Bearer token name, by the claim rules of its issuer."""

import re

from byline.identity.caller import Caller, Kind
from byline.identity.claim_conditions import filled, hold, subject_at, text_at
from byline.identity.claims import SignedClaims, clean_text, email_of, optional_text
from byline.identity.delegation import acting, actors_of
from byline.identity.issuer_profiles import Profile
from byline.identity.trusted_issuers import TrustedIssuer

MAX_LINK_CHARACTERS = 512

_LINK = re.compile(r"https://[A-Za-z0-9.:-]+/[A-Za-z0-9._~/@%+-]+")

_CLIENT_CLAIMS = ("azp", "client_id", "cid", "appid", "applicationId")
"""The client that a token was issued to: OpenID Connect, RFC 9068, Okta, Entra's
version 1, FusionAuth."""


def caller_of(issuer: TrustedIssuer, profile: Profile, claims: SignedClaims) -> Caller:
    """The caller that the verified `claims` name: the subject, or the agent that acts for it."""
    caller = _subject_of(issuer, profile, claims)
    actors = actors_of(claims, issuer)
    return acting(caller, actors, issuer) if actors else caller


def userinfo_subjects(caller: Caller, claims: SignedClaims) -> frozenset[str]:
    """The subjects that an answer of userinfo may name: the caller's, and the token's own `sub`.

    A `sub` that is the client's id does not count: all people who use the client have it.
    """
    clients = {text_at(claims, name) for name in _CLIENT_CLAIMS}
    return frozenset({caller.subject} | ({caller.token_subject} - clients))


def _subject_of(issuer: TrustedIssuer, profile: Profile, claims: SignedClaims) -> Caller:
    subject = subject_at(profile.subject, claims)
    token_subject = text_at(claims, "sub") or subject
    configured = issuer.service_accounts.get(token_subject) or issuer.service_accounts.get(subject)
    if token_subject in issuer.service_accounts:
        subject = token_subject
    kind = "application" if configured else _kind_of(profile, claims)
    email, is_verified = email_of(claims)
    return Caller(
        kind=kind,
        source="bearer",
        issuer=issuer.issuer,
        subject=subject,
        token_subject=token_subject,
        name=configured or _name_of(profile, claims) or subject,
        given_name=optional_text(claims, "given_name"),
        family_name=optional_text(claims, "family_name"),
        email=email,
        email_verified=is_verified,
        full_name=optional_text(claims, "name"),
        through=_client_of(claims) if kind == "user" else "",
        link=_link_of(profile, claims),
        started_for=optional_text(claims, profile.actor) if profile.actor else "",
    )


def _client_of(claims: SignedClaims) -> str:
    return next(filter(None, (optional_text(claims, name) for name in _CLIENT_CLAIMS)), "")


def _link_of(profile: Profile, claims: SignedClaims) -> str:
    """The page about a workload's job; empty where the claims make no plain https address."""
    links = (filled(template, claims) for template in profile.link)
    link = next(filter(None, links), "")
    return link if len(link) <= MAX_LINK_CHARACTERS and _LINK.fullmatch(link) else ""


def _kind_of(profile: Profile, claims: SignedClaims) -> Kind:
    if hold(profile.application_when, claims):
        return "application"
    return "user" if hold(profile.person_when, claims) else "unknown"


def _name_of(profile: Profile, claims: SignedClaims) -> str:
    names = (clean_text(filled(template, claims)) for template in profile.name)
    return next(filter(None, names), "")
