"""What each provider's claims prove: an access token, a service account, a person.

Whatever is not proved is not assumed: a subject that is provably neither a service account nor a
person is of unknown kind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from byline.errors import Rejected
from byline.identity import claim_rules as evidence
from byline.identity.caller import Kind
from byline.identity.claim_rules import Claims
from byline.identity.claims import SignedClaims, required_text
from byline.identity.settings import IssuerProfile, TrustedIssuer
from byline.identity.unverified import UnverifiedHeader

type Evidence = Callable[[Claims], bool]

_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_UNTYPED = frozenset({None, "jwt"})


@dataclass(frozen=True, slots=True)
class Rules:
    """`is_access_token` judges tokens whose header does not type them; `is_person` is asked only of
    subjects that are no application."""

    is_access_token: Evidence
    is_application: Evidence
    is_person: Evidence


def check_token_type(profile: IssuerProfile, header: UnverifiedHeader, claims: Claims) -> None:
    """Raise `Rejected` (`wrong_token_type`) unless this is the kind of token that grants access.

    RFC 9068, section 2.1, types access tokens by their header, `at+jwt`. Most providers do not, nor
    do many servers that follow it otherwise, so a token whose header says nothing (or `JWT`) passes
    where its claims prove what it is: for a `generic` issuer a `client_id` and nothing that binds
    it to a sign-in. A token of any other type (a logout token, Okta's tokens for Okta itself) never
    passes.
    """
    typ = header.get("typ")
    if typ is not None and not isinstance(typ, str):
        raise Rejected("malformed_token", "`typ` is not text")
    if "cnf" in claims:
        # RFC 7800: whoever presents it must prove that they hold a key, and nothing here checks it.
        raise Rejected("wrong_token_type", "the token is bound to a key, so it is no Bearer token")
    media_type = None if typ is None else typ.lower()  # RFC 2045, 5.1: case says nothing
    if media_type in _ACCESS_TOKEN_TYPES and profile not in _TYPED_BY_CLAIMS:
        return
    may_be_one = media_type in _ACCESS_TOKEN_TYPES | _UNTYPED
    if not may_be_one or not RULES[profile].is_access_token(claims):
        raise Rejected("wrong_token_type", "this is not an access token")


def kind_of(issuer: TrustedIssuer, claims: SignedClaims) -> Kind:
    """What the verified `claims` prove their subject to be. The issuer's own map wins."""
    rules = RULES[issuer.profile]
    if claims.get("sub") in issuer.service_accounts or rules.is_application(claims):
        return "application"
    return "user" if rules.is_person(claims) else "unknown"


def person_of(issuer: TrustedIssuer, claims: SignedClaims) -> str:
    """The person's own id where `sub` is the client's id for every person, else the `sub`.

    Raises `Rejected` where that is none for its length or its characters.

    Only Okta's custom servers do so, and there `uid` is the person's. With the client's id as their
    subject, all people who use one client would be the same caller.
    """
    subject: str = claims["sub"]
    if issuer.profile == "okta" and subject == claims.get("cid"):
        return required_text(claims, "uid")
    return subject


def userinfo_subjects(issuer: TrustedIssuer, claims: SignedClaims) -> frozenset[str]:
    """Whom a userinfo answer may speak of: the `sub`, at Okta also the `uid`.

    Okta's access tokens carry the login name as `sub`, its userinfo the `uid`.
    """
    subjects = {claims["sub"]}
    if issuer.profile == "okta" and (uid := evidence.text(claims, "uid")):
        subjects.add(uid)
    return frozenset(subjects)


RULES: Mapping[IssuerProfile, Rules] = {
    "generic": Rules(
        evidence.generic_access_token, evidence.generic_application, evidence.generic_person
    ),
    "keycloak": Rules(
        evidence.keycloak_access_token, evidence.keycloak_application, evidence.keycloak_person
    ),
    "okta": Rules(evidence.okta_access_token, evidence.okta_application, evidence.okta_person),
    "entra": Rules(evidence.entra_access_token, evidence.entra_application, evidence.entra_person),
    "auth0": Rules(evidence.auth0_access_token, evidence.auth0_application, evidence.auth0_person),
    "cognito": Rules(
        evidence.cognito_access_token, evidence.cognito_application, evidence.cognito_person
    ),
    "google": Rules(evidence.always, evidence.google_application, evidence.google_person),
    "kubernetes": Rules(evidence.always, evidence.kubernetes_application, evidence.never),
}

_TYPED_BY_CLAIMS: frozenset[IssuerProfile] = frozenset({"keycloak", "cognito"})
"""Where a claim types every token, a header does not stand in for it."""
