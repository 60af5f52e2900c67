"""What each provider's claims prove. The tokens are of the shape that the provider documents."""

from collections.abc import Mapping
from typing import Any, get_args

import pytest

from byline.errors import Reason, Rejected
from byline.identity.caller import Caller, Kind
from byline.identity.issuer_profiles import PROFILES
from byline.identity.trusted_issuers import IssuerProfile
from tests.identity.bearer_issuer import ISSUER, NOW, BearerIssuer, without

COMMON: Mapping[str, Any] = {"iss": ISSUER, "aud": "byline", "exp": NOW + 300}

GENERIC_PERSON = {**COMMON, "sub": "ada", "client_id": "web", "auth_time": NOW - 90}
GENERIC_MACHINE = {**COMMON, "sub": "nightly", "client_id": "nightly"}

KEYCLOAK_PERSON = {
    **COMMON,
    "sub": "2f9c0d1e",
    "typ": "Bearer",
    "azp": "web",
    "sid": "8a1b",
    "preferred_username": "ada",
}
KEYCLOAK_MACHINE = {
    **COMMON,
    "sub": "1f4db6ad",
    "typ": "Bearer",
    "azp": "Nightly",
    "client_id": "Nightly",
    "clientHost": "10.0.0.7",
    "clientAddress": "10.0.0.7",
    "preferred_username": "service-account-nightly",
}

OKTA_PERSON = {**COMMON, "sub": "ada@example.com", "cid": "0oa1", "uid": "00u1", "scp": ["openid"]}
OKTA_MACHINE = {**COMMON, "sub": "0oa2", "cid": "0oa2", "scp": ["runs"]}

ENTRA_PERSON = {
    **COMMON,
    "sub": "pairwise",
    "oid": "5c6d",
    "azp": "1a2b",
    "scp": "Runs.Create",
    "roles": ["Runner"],
}
ENTRA_MACHINE = {
    **COMMON,
    "sub": "9e8f",
    "oid": "9e8f",
    "azp": "1a2b",
    "idtyp": "app",
    "roles": ["Runner"],
}

AUTH0_PERSON = {**COMMON, "sub": "auth0|6553", "azp": "K1AU", "scope": "openid"}
AUTH0_MACHINE = {**COMMON, "sub": "K1AU@clients", "azp": "K1AU", "gty": "client-credentials"}

COGNITO_PERSON = {
    **without(COMMON, "aud"),
    "sub": "aaaa-bbbb",
    "token_use": "access",
    "client_id": "byline",
    "username": "ada",
}
COGNITO_MACHINE = {
    **without(COMMON, "aud"),
    "sub": "byline",
    "token_use": "access",
    "client_id": "byline",
}

GOOGLE_PERSON = {**COMMON, "sub": "1176", "email": "ada@example.com", "email_verified": True}
GOOGLE_MACHINE = {
    **COMMON,
    "sub": "1042",
    "azp": "1042",
    "email": "nightly@acme.iam.gserviceaccount.com",
    "email_verified": True,
}

KUBERNETES_MACHINE = {
    **COMMON,
    "aud": ["byline"],
    "sub": "system:serviceaccount:training:nightly",
    "kubernetes.io": {
        "namespace": "training",
        "serviceaccount": {"name": "nightly", "uid": "14ee"},
        "pod": {"name": "nightly-1", "uid": "5e0c"},
    },
}


def caller(profile: IssuerProfile, claims: Mapping[str, Any], *, typ: str | None = None) -> Caller:
    issuer = BearerIssuer(profile=profile)
    return issuer.verifier().verify_bearer(issuer.token(claims, header={"typ": typ}))


def refusal(profile: IssuerProfile, claims: Mapping[str, Any], *, typ: str | None = None) -> Reason:
    issuer = BearerIssuer(profile=profile)
    with pytest.raises(Rejected) as rejection:
        issuer.verifier().verify_bearer(issuer.token(claims, header={"typ": typ}))
    assert issuer.web.requests == []
    return rejection.value.reason


def test_every_profile_has_its_rules() -> None:
    """No profile can be configured of which nothing is known."""
    assert set(PROFILES) == set(get_args(IssuerProfile))


@pytest.mark.parametrize(
    ("profile", "claims", "kind"),
    [
        ("generic", GENERIC_PERSON, "user"),
        ("generic", GENERIC_MACHINE, "application"),
        ("keycloak", KEYCLOAK_PERSON, "user"),
        ("keycloak", without(KEYCLOAK_PERSON, "sid"), "user"),
        ("keycloak", without(KEYCLOAK_PERSON, "preferred_username"), "user"),
        ("keycloak", KEYCLOAK_MACHINE, "application"),
        ("keycloak", without(KEYCLOAK_MACHINE, "clientHost", "clientAddress"), "application"),
        ("keycloak", without(KEYCLOAK_MACHINE, "client_id", "clientHost"), "application"),
        ("keycloak", without(KEYCLOAK_MACHINE, "client_id", "clientAddress"), "application"),
        ("okta", OKTA_PERSON, "user"),
        ("okta", OKTA_MACHINE, "application"),
        ("entra", ENTRA_PERSON, "user"),
        ("entra", {**without(ENTRA_PERSON, "scp"), "idtyp": "user"}, "user"),
        ("entra", ENTRA_MACHINE, "application"),
        ("entra", without(ENTRA_MACHINE, "idtyp"), "application"),
        ("entra", {**without(ENTRA_MACHINE, "azp", "idtyp"), "appid": "1a2b"}, "application"),
        ("auth0", AUTH0_PERSON, "user"),
        ("auth0", {**without(AUTH0_PERSON, "azp"), "client_id": "K1AU"}, "user"),
        ("auth0", AUTH0_MACHINE, "application"),
        ("auth0", {**COMMON, "sub": "K1AU", "client_id": "K1AU"}, "application"),
        ("auth0", {**COMMON, "sub": "K1AU@clients", "client_id": "K1AU"}, "application"),
        ("cognito", COGNITO_PERSON, "user"),
        ("cognito", COGNITO_MACHINE, "application"),
        ("google", GOOGLE_PERSON, "user"),
        ("google", GOOGLE_MACHINE, "application"),
        ("kubernetes", KUBERNETES_MACHINE, "application"),
    ],
)
def test_documented_token_is_of_its_kind(
    profile: IssuerProfile, claims: Mapping[str, Any], kind: Kind
) -> None:
    """A documented token of each provider is recognised as a person's or a service account's."""
    assert caller(profile, claims).kind == kind


@pytest.mark.parametrize(
    ("profile", "claims", "kind"),
    [
        # A person chose a service account's name: of another client, or without its other claims.
        ("keycloak", {**KEYCLOAK_PERSON, "preferred_username": "service-account-x"}, "user"),
        ("keycloak", {**KEYCLOAK_PERSON, "preferred_username": "service-account-web"}, "user"),
        (
            "keycloak",
            without(KEYCLOAK_MACHINE, "client_id", "clientHost", "clientAddress"),
            "unknown",
        ),
        ("keycloak", {**KEYCLOAK_MACHINE, "azp": "other", "client_id": "other"}, "user"),
        ("keycloak", without(KEYCLOAK_MACHINE, "azp"), "unknown"),
        # A custom server that puts the client's id into every `sub`: `uid` decides.
        ("okta", {**OKTA_MACHINE, "uid": "00u1"}, "user"),
        ("okta", {**OKTA_MACHINE, "uid": None}, "unknown"),
        ("okta", {**OKTA_MACHINE, "sub": "somebody"}, "unknown"),
        # `roles`, `azp` and `appid` stand on both kinds.
        ("entra", without(ENTRA_PERSON, "scp"), "unknown"),
        ("entra", {**ENTRA_PERSON, "oid": "pairwise"}, "user"),
        ("entra", {**without(ENTRA_MACHINE, "oid"), "idtyp": "else"}, "unknown"),
        ("entra", {**ENTRA_MACHINE, "idtyp": "user"}, "user"),
        # The suffix alone, or another client's, proves nothing.
        ("auth0", without(AUTH0_MACHINE, "gty"), "unknown"),
        ("auth0", {**AUTH0_MACHINE, "azp": "other"}, "unknown"),
        ("auth0", {**COMMON, "sub": "auth0|1@clients", "azp": "K1AU"}, "unknown"),
        ("auth0", {**AUTH0_PERSON, "sub": "ada"}, "unknown"),
        ("cognito", {**COGNITO_MACHINE, "sub": "other"}, "unknown"),
        ("cognito", {**COGNITO_MACHINE, "username": "byline"}, "user"),
        # An address counts once Google has verified it.
        ("google", {**GOOGLE_MACHINE, "email_verified": False}, "unknown"),
        ("google", {**GOOGLE_MACHINE, "email_verified": "true"}, "unknown"),
        ("google", {**GOOGLE_PERSON, "email_verified": False}, "unknown"),
        ("google", without(GOOGLE_PERSON, "email"), "unknown"),
        ("google", {**GOOGLE_PERSON, "email": "gserviceaccount.com@example.com"}, "user"),
        ("google", {**GOOGLE_PERSON, "email": "ada@evilgserviceaccount.com"}, "user"),
        # The subject and the bound object say different things.
        ("kubernetes", {**KUBERNETES_MACHINE, "sub": "system:serviceaccount:x:nightly"}, "unknown"),
        ("kubernetes", {**KUBERNETES_MACHINE, "sub": "system:serviceaccount:training"}, "unknown"),
        ("kubernetes", {**KUBERNETES_MACHINE, "sub": "system:node:worker-1"}, "unknown"),
        ("kubernetes", {**KUBERNETES_MACHINE, "kubernetes.io": {}}, "unknown"),
        ("kubernetes", {**KUBERNETES_MACHINE, "kubernetes.io": "training"}, "unknown"),
        ("kubernetes", without(KUBERNETES_MACHINE, "kubernetes.io"), "unknown"),
    ],
)
def test_trap_does_not_prove_an_application(
    profile: IssuerProfile, claims: Mapping[str, Any], kind: Kind
) -> None:
    """Half of the claims prove a person where they prove one, and otherwise nothing."""
    assert caller(profile, claims).kind == kind


@pytest.mark.parametrize(
    ("profile", "claims"),
    [
        ("generic", {**without(GENERIC_PERSON, "client_id"), "nonce": "n"}),
        ("generic", {**without(GENERIC_PERSON, "client_id"), "azp": "web"}),
        ("generic", {**GENERIC_PERSON, "nonce": "n"}),
        ("generic", {**GENERIC_PERSON, "at_hash": "h"}),
        ("generic", {**GENERIC_PERSON, "c_hash": "h"}),
        ("keycloak", {**KEYCLOAK_PERSON, "typ": "ID"}),
        ("keycloak", {**KEYCLOAK_PERSON, "typ": "Refresh"}),
        ("keycloak", {**KEYCLOAK_PERSON, "typ": "Offline"}),
        ("keycloak", {**KEYCLOAK_PERSON, "typ": "DPoP"}),
        ("keycloak", {**KEYCLOAK_PERSON, "typ": "bearer"}),
        ("keycloak", without(KEYCLOAK_PERSON, "typ")),
        ("okta", {**OKTA_PERSON, "at_hash": "h"}),
        ("okta", {**OKTA_PERSON, "nonce": "n"}),
        ("okta", without(OKTA_PERSON, "cid", "uid", "scp")),
        ("entra", {**ENTRA_PERSON, "nonce": "n"}),
        ("entra", without(ENTRA_PERSON, "azp", "scp")),
        ("auth0", {**AUTH0_PERSON, "nonce": "n"}),
        ("auth0", {**without(AUTH0_PERSON, "azp", "scope"), "sid": "s"}),
        ("cognito", {**COGNITO_PERSON, "token_use": "id", "aud": "byline"}),
        ("cognito", without(COGNITO_PERSON, "token_use")),
    ],
)
def test_id_token_never_passes_for_an_access_token(
    profile: IssuerProfile, claims: Mapping[str, Any]
) -> None:
    """One thing about an access token is made an ID token's; its audience is ours even so."""
    assert refusal(profile, claims) == "wrong_token_type"


@pytest.mark.parametrize(
    ("profile", "claims"),
    [
        ("keycloak", {**KEYCLOAK_PERSON, "typ": "ID"}),
        ("cognito", {**COGNITO_PERSON, "token_use": "id", "aud": "byline"}),
    ],
)
def test_header_does_not_stand_in_for_a_claim_that_types(
    profile: IssuerProfile, claims: Mapping[str, Any]
) -> None:
    """Where the provider types every token by a claim, `at+jwt` changes nothing."""
    assert refusal(profile, claims, typ="at+jwt") == "wrong_token_type"


@pytest.mark.parametrize("profile", get_args(IssuerProfile))
@pytest.mark.parametrize("typ", ["application/okta-internal-at+jwt", "logout+jwt", "secevent+jwt"])
def test_other_type_of_token_never_passes(profile: IssuerProfile, typ: str) -> None:
    """A logout or event token has an issuer, a subject and our audience as well."""
    claims = {**GENERIC_PERSON, "typ": "Bearer", "token_use": "access", "cid": "c", "azp": "c"}
    assert refusal(profile, claims, typ=typ) == "wrong_token_type"


def test_keycloak_access_token_may_carry_a_nonce() -> None:
    """Keycloak before 24 repeats the sign-in's `nonce` there: the payload's `typ` decides."""
    assert caller("keycloak", {**KEYCLOAK_PERSON, "nonce": "n"}).kind == "user"


class TestCognitoAudience:
    """Cognito leaves `aud` out unless the token is bound to a resource."""

    def test_client_of_another_app_is_refused(self) -> None:
        """`client_id` stands in, and is compared as strictly."""
        claims = {**COGNITO_PERSON, "client_id": "other"}
        assert refusal("cognito", claims) == "untrusted_audience"

    def test_audience_that_is_there_counts(self) -> None:
        """A bound token's `aud` is not overruled by its client."""
        claims = {**COGNITO_PERSON, "aud": "https://other.example"}
        assert refusal("cognito", claims) == "untrusted_audience"

    def test_neither_is_refused(self) -> None:
        """A token without an audience is refused."""
        assert refusal("cognito", without(COGNITO_PERSON, "client_id")) == "missing_claim"

    @pytest.mark.parametrize("profile", ["generic", "keycloak", "auth0"])
    def test_client_does_not_stand_in_elsewhere(self, profile: IssuerProfile) -> None:
        """Only Cognito is known to do so."""
        claims = {**without(GENERIC_PERSON, "aud"), "client_id": "byline"}
        assert refusal(profile, claims) == "missing_claim"


@pytest.mark.parametrize("claim", ["aud", "exp"])
def test_legacy_kubernetes_token_is_refused(claim: str) -> None:
    """Tokens from secrets have neither an end nor an audience."""
    assert refusal("kubernetes", without(KUBERNETES_MACHINE, claim)) == "missing_claim"


def test_google_token_for_another_audience_is_refused() -> None:
    """Anyone can have Google sign an ID token for another service."""
    claims = {**GOOGLE_PERSON, "aud": "32555940559.apps.googleusercontent.com"}
    assert refusal("google", claims) == "untrusted_audience"


@pytest.mark.parametrize(
    ("profile", "claims"),
    [
        ("keycloak", KEYCLOAK_PERSON),
        ("okta", {**OKTA_PERSON, "sub": "2f9c0d1e"}),
        ("google", without(GOOGLE_PERSON, "email")),
    ],
)
def test_configured_service_account_wins_over_every_profile(
    profile: IssuerProfile, claims: Mapping[str, Any]
) -> None:
    """What the operator says of a subject goes before what its claims prove."""
    issuer = BearerIssuer(profile=profile)
    verifier = issuer.verifier(service_accounts={claims["sub"]: "nightly"})
    verified = verifier.verify_bearer(issuer.token(claims))
    assert (verified.kind, verified.name) == ("application", "nightly")
    assert verified.subject == claims["sub"]


class TestOktaSubject:
    """Custom servers may put the client's id into the `sub` of every person's token."""

    def test_people_of_one_client_are_different_callers(self) -> None:
        """`uid` names the person, and the token's own `sub` is kept beside it."""
        ada = caller("okta", {**OKTA_MACHINE, "uid": "00u1"})
        grace = caller("okta", {**OKTA_MACHINE, "uid": "00u2"})
        assert (ada.subject, grace.subject) == ("00u1", "00u2")
        assert ada.token_subject == grace.token_subject == "0oa2"

    @pytest.mark.parametrize("uid", ["u" * 316, "a\nb", " "])
    def test_person_whose_id_is_no_short_printable_text_is_refused(self, uid: str) -> None:
        """It becomes their subject, so it is held to what a subject is held to."""
        with pytest.raises(Rejected) as refused:
            caller("okta", {**OKTA_MACHINE, "uid": uid})
        assert refused.value.reason in {"malformed_claim", "missing_claim"}

    def test_person_is_the_user_id_whatever_the_login_is(self) -> None:
        """A login may get a new owner, and a browser's token has the `uid` as its subject."""
        person = caller("okta", OKTA_PERSON)
        assert (person.subject, person.token_subject) == ("00u1", "ada@example.com")
        assert person.name == "ada@example.com"
