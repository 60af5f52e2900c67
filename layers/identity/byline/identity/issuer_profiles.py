"""Issuer profiles: the claim rules of each provider, and the kind of caller that they prove.

Nothing is assumed without a proof. A subject that is proved to be neither a service account nor a
person is of unknown kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from byline.errors import Rejected
from byline.identity import claim_rules as rule
from byline.identity.caller import Kind
from byline.identity.claim_rules import ClaimRule, ClaimSet
from byline.identity.claims import SignedClaims, required_text
from byline.identity.settings import IssuerProfile, TrustedIssuer
from byline.identity.unverified import UnverifiedHeader

_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_UNTYPED = frozenset({None, "jwt"})


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """The claim rules of one profile.

    `is_access_token` is asked only where the header does not type the token. `is_person` is asked
    only of a subject that is no application.
    """

    is_access_token: ClaimRule
    is_application: ClaimRule
    is_person: ClaimRule


def check_token_type(profile: IssuerProfile, header: UnverifiedHeader, claims: ClaimSet) -> None:
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
    if media_type in _ACCESS_TOKEN_TYPES and profile not in _TYPED_BY_CLAIMS:
        return
    may_be_one = media_type in _ACCESS_TOKEN_TYPES | _UNTYPED
    if not may_be_one or not RULES[profile].is_access_token(claims):
        raise Rejected(
            "wrong_token_type",
            "The token is not an access token. Send the access token of the sign-in, not the ID"
            " token.",
        )


def kind_of(issuer: TrustedIssuer, claims: SignedClaims) -> Kind:
    """The kind of caller that the verified `claims` prove.

    A subject in the issuer's configured `service_accounts` is an application, whatever the rules
    say.
    """
    rules = RULES[issuer.profile]
    if claims.get("sub") in issuer.service_accounts or rules.is_application(claims):
        return "application"
    return "user" if rules.is_person(claims) else "unknown"


def person_of(issuer: TrustedIssuer, claims: SignedClaims) -> str:
    """The subject of a person: `sub`, or `uid` where `sub` is the client's id.

    Only Okta's custom servers write the client's id into `sub`, and then `uid` is the person's id.
    With the client's id as subject, all people who use one client would be the same caller.

    Raises `Rejected` (`missing_claim`, `malformed_claim`) where that `uid` is not a legal subject.
    """
    subject: str = claims["sub"]
    if issuer.profile == "okta" and subject == claims.get("cid"):
        return required_text(claims, "uid")
    return subject


def userinfo_subjects(issuer: TrustedIssuer, claims: SignedClaims) -> frozenset[str]:
    """The subjects that an answer of userinfo may name: the `sub`, and for Okta the `uid`.

    Okta's access tokens carry the login name in `sub`, and its userinfo the `uid`.
    """
    subjects = {claims["sub"]}
    if issuer.profile == "okta" and (uid := rule.text(claims, "uid")):
        subjects.add(uid)
    return frozenset(subjects)


RULES: Mapping[IssuerProfile, ProfileRules] = {
    "generic": ProfileRules(
        rule.generic_access_token, rule.generic_application, rule.generic_person
    ),
    "keycloak": ProfileRules(
        rule.keycloak_access_token, rule.keycloak_application, rule.keycloak_person
    ),
    "okta": ProfileRules(rule.okta_access_token, rule.okta_application, rule.okta_person),
    "entra": ProfileRules(rule.entra_access_token, rule.entra_application, rule.entra_person),
    "auth0": ProfileRules(rule.auth0_access_token, rule.auth0_application, rule.auth0_person),
    "cognito": ProfileRules(
        rule.cognito_access_token, rule.cognito_application, rule.cognito_person
    ),
    "google": ProfileRules(rule.always, rule.google_application, rule.google_person),
    "kubernetes": ProfileRules(rule.always, rule.kubernetes_application, rule.never),
}
"""The claim rules of each profile."""

_TYPED_BY_CLAIMS: frozenset[IssuerProfile] = frozenset({"keycloak", "cognito"})
"""Profiles whose tokens all have their type in a claim, which a header does not replace."""
