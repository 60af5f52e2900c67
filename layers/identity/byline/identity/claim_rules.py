"""Claim rules: what the claims of each provider's tokens prove, by the provider's documentation.

Each provider has up to three rules. `…_access_token`: the token is an access token, although its
header does not say so. `…_application`: the subject is a service account. `…_person`: the subject
is a person. A rule returns True only for a proof; a missing claim proves nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

type ClaimSet = Mapping[str, Any]
"""The claims of a token, of any type that an issuer wrote, before or after verification."""

type ClaimRule = Callable[[ClaimSet], bool]

ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash"})
"""Claims that bind an ID token to a sign-in. No access token has them.
OpenID Connect Core 1.0, sections 2 and 3.3.2.11."""


def text(claims: ClaimSet, name: str) -> str:
    """The claim `name`; empty where it is absent or not text."""
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def never(_: ClaimSet) -> bool:
    """False for all claims."""
    return False


def always(_: ClaimSet) -> bool:
    """True for all claims."""
    return True


def generic_access_token(claims: ClaimSet) -> bool:
    """True with a `client_id`, which RFC 9068 requires (section 2.2) and no ID token has."""
    return bool(text(claims, "client_id")) and not _binds_to_sign_in(claims)


def generic_application(claims: ClaimSet) -> bool:
    """True where `sub` is the client's id, as for every token without a person (RFC 9068, 5)."""
    return _equal(claims, "sub", "client_id")


def generic_person(claims: ClaimSet) -> bool:
    """True where `sub` is not the client's id."""
    return bool(text(claims, "client_id")) and not generic_application(claims)


def keycloak_access_token(claims: ClaimSet) -> bool:
    """True for the payload's `typ` "Bearer"; ID, refresh and DPoP-bound tokens have others.

    https://www.keycloak.org/docs/latest/server_admin/#_service_accounts
    """
    return claims.get("typ") == "Bearer"


def keycloak_application(claims: ClaimSet) -> bool:
    """True where the client signed in by itself and the name is its service account's."""
    by_client = (
        _equal(claims, "client_id", "azp") or "clientHost" in claims or "clientAddress" in claims
    )
    return by_client and _has_keycloak_service_name(claims)


def keycloak_person(claims: ClaimSet) -> bool:
    """True for a browser's session, and for a name that no service account has."""
    if text(claims, "sid") or text(claims, "session_state"):
        return True
    named = text(claims, "azp") and text(claims, "preferred_username")
    return bool(named) and not _has_keycloak_service_name(claims)


def okta_access_token(claims: ClaimSet) -> bool:
    """True with a `cid`, which every access token has and no ID token.

    https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/
    """
    return bool(text(claims, "cid")) and not _binds_to_sign_in(claims)


def okta_application(claims: ClaimSet) -> bool:
    """True where `sub` is the client's id and no `uid` binds the token to a person."""
    return "uid" not in claims and _equal(claims, "sub", "cid")


def okta_person(claims: ClaimSet) -> bool:
    """True with a `uid`, which only a person's token has."""
    return bool(text(claims, "cid")) and bool(text(claims, "uid"))


def entra_access_token(claims: ClaimSet) -> bool:
    """True with a claim that every access token has (`azp`, `appid`) and no ID token.

    https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
    """
    access_claims = ("azp", "appid", "scp", "idtyp")
    named = any(text(claims, name) for name in access_claims) or entra_application(claims)
    return named and not _binds_to_sign_in(claims)


def entra_application(claims: ClaimSet) -> bool:
    """True for `idtyp` "app"; without `idtyp` where `oid` equals `sub`, as for no person.

    `roles` proves nothing: people and applications have it.
    """
    if "idtyp" in claims:
        return bool(claims["idtyp"] == "app")
    return "scp" not in claims and _equal(claims, "oid", "sub")


def entra_person(claims: ClaimSet) -> bool:
    """True for `idtyp` "user", and with a `scp`, which a person must have delegated."""
    return claims.get("idtyp") == "user" or bool(text(claims, "scp"))


def auth0_access_token(claims: ClaimSet) -> bool:
    """True with a claim that only access tokens have.

    The client's id is `azp` in Auth0's own token profile and `client_id` in that of RFC 9068.
    https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles
    """
    access_claims = ("azp", "client_id", "scope", "gty")
    return any(text(claims, name) for name in access_claims) and not _binds_to_sign_in(claims)


def auth0_application(claims: ClaimSet) -> bool:
    """True where `sub` is the client's id, with or without the suffix `@clients`.

    The profile of RFC 9068 has no `gty`, and its `sub` may carry the suffix as well.
    """
    subject, azp, client = (text(claims, name) for name in ("sub", "azp", "client_id"))
    if claims.get("gty") == "client-credentials" and azp:
        return subject == f"{azp}@clients"
    return bool(client) and subject in (client, f"{client}@clients")


def auth0_person(claims: ClaimSet) -> bool:
    """True where `sub` is a user's id, `<connection>|<id>`."""
    subject = text(claims, "sub")
    by_a_client = claims.get("gty") == "client-credentials" or subject.endswith("@clients")
    return "|" in subject and not by_a_client


def cognito_access_token(claims: ClaimSet) -> bool:
    """True for `token_use` "access".

    https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
    """
    return claims.get("token_use") == "access"


def cognito_application(claims: ClaimSet) -> bool:
    """True where `sub` is the client's id and no `username` is present."""
    return "username" not in claims and _equal(claims, "sub", "client_id")


def cognito_person(claims: ClaimSet) -> bool:
    """True with a `username`."""
    return bool(text(claims, "username"))


def google_application(claims: ClaimSet) -> bool:
    """True for a verified e-mail address of a service account.

    Google issues ID tokens only. The required `aud` is what makes one a credential for Byline.
    https://cloud.google.com/docs/authentication/token-types#id
    """
    return _google_address(claims).endswith(".gserviceaccount.com")


def google_person(claims: ClaimSet) -> bool:
    """True for any other verified e-mail address."""
    return "@" in _google_address(claims) and not google_application(claims)


def kubernetes_application(claims: ClaimSet) -> bool:
    """True where `sub` is the service account that the token is bound to.

    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
    """
    bound = claims.get("kubernetes.io")
    account = bound.get("serviceaccount") if isinstance(bound, Mapping) else None
    if not isinstance(bound, Mapping) or not isinstance(account, Mapping):
        return False
    namespace, name = text(bound, "namespace"), text(account, "name")
    subject = f"system:serviceaccount:{namespace}:{name}"
    return bool(namespace and name) and text(claims, "sub") == subject


def _equal(claims: ClaimSet, name: str, other: str) -> bool:
    """Whether both claims are present and equal."""
    return bool(text(claims, name)) and text(claims, name) == text(claims, other)


def _binds_to_sign_in(claims: ClaimSet) -> bool:
    return not ID_TOKEN_CLAIMS.isdisjoint(claims)


def _has_keycloak_service_name(claims: ClaimSet) -> bool:
    """Whether the name is that of a service account. A person may have chosen such a name."""
    azp, name = text(claims, "azp"), text(claims, "preferred_username")
    return bool(azp) and name.casefold() == f"service-account-{azp}".casefold()


def _google_address(claims: ClaimSet) -> str:
    return text(claims, "email") if claims.get("email_verified") is True else ""
