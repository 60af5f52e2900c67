"""What each provider's claims prove, read from the provider's own pages.

The functions of one provider stand together and are named for it: `…_access_token` for a token
whose header does not type it, `…_application` for a service account, `…_person` for a person.
"""

from collections.abc import Mapping
from typing import Any

type Claims = Mapping[str, Any]

ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash"})
"""OpenID Connect Core 1.0, sections 2 and 3.3.2.11: they bind an ID token to a sign-in, and mean
nothing in an access token."""


def text(claims: Claims, name: str) -> str:
    """A claim that is text, empty where it is absent or anything else."""
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _equal(claims: Claims, name: str, other: str) -> bool:
    """Whether both claims are there and say the same."""
    return bool(text(claims, name)) and text(claims, name) == text(claims, other)


def _of_sign_in(claims: Claims) -> bool:
    return not ID_TOKEN_CLAIMS.isdisjoint(claims)


def never(_: Claims) -> bool:
    """Nothing proves it."""
    return False


def always(_: Claims) -> bool:
    """Nothing is needed to prove it."""
    return True


# RFC 9068, section 2.2: `client_id` is required, and is no claim of an ID token. Section 5: `sub`
# is the client's id where no person is involved.
def generic_access_token(claims: Claims) -> bool:
    return bool(text(claims, "client_id")) and not _of_sign_in(claims)


def generic_application(claims: Claims) -> bool:
    return _equal(claims, "sub", "client_id")


def generic_person(claims: Claims) -> bool:
    return bool(text(claims, "client_id")) and not generic_application(claims)


# https://www.keycloak.org/docs/latest/server_admin/#_service_accounts
# The payload's own `typ` tells access ("Bearer") from ID, refresh and DPoP-bound tokens.
def keycloak_access_token(claims: Claims) -> bool:
    return claims.get("typ") == "Bearer"


def _keycloak_service_name(claims: Claims) -> bool:
    """Not proof by itself: a person may have chosen such a name."""
    azp, name = text(claims, "azp"), text(claims, "preferred_username")
    return bool(azp) and name.casefold() == f"service-account-{azp}".casefold()


def keycloak_application(claims: Claims) -> bool:
    by_client = (
        _equal(claims, "client_id", "azp") or "clientHost" in claims or "clientAddress" in claims
    )
    return by_client and _keycloak_service_name(claims)


def keycloak_person(claims: Claims) -> bool:
    """A session of a browser, or a name that is no service account's."""
    if text(claims, "sid") or text(claims, "session_state"):
        return True
    named = text(claims, "azp") and text(claims, "preferred_username")
    return bool(named) and not _keycloak_service_name(claims)


# https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/
# `cid` stands on every access token and on no ID token; `uid` only where a person is bound to it.
def okta_access_token(claims: Claims) -> bool:
    return bool(text(claims, "cid")) and not _of_sign_in(claims)


def okta_application(claims: Claims) -> bool:
    return "uid" not in claims and _equal(claims, "sub", "cid")


def okta_person(claims: Claims) -> bool:
    return bool(text(claims, "cid")) and bool(text(claims, "uid"))


# https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
# `azp` (v2) or `appid` (v1) stands on every access token and on no ID token; `scp` only where a
# person delegated. A person's `sub` is not the `oid`, and an application has no ID tokens. `roles`
# proves nothing.
def entra_access_token(claims: Claims) -> bool:
    access_claims = ("azp", "appid", "scp", "idtyp")
    named = any(text(claims, name) for name in access_claims) or entra_application(claims)
    return named and not _of_sign_in(claims)


def entra_application(claims: Claims) -> bool:
    if "idtyp" in claims:
        return bool(claims["idtyp"] == "app")
    return "scp" not in claims and _equal(claims, "oid", "sub")


def entra_person(claims: Claims) -> bool:
    return claims.get("idtyp") == "user" or bool(text(claims, "scp"))


# https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles
# The client's id is `azp` in Auth0's own profile, `client_id` in that of RFC 9068, where `gty` is
# missing and `sub` may carry the suffix as well. A user's id is `<connection>|<id>`.
def auth0_access_token(claims: Claims) -> bool:
    access_claims = ("azp", "client_id", "scope", "gty")
    return any(text(claims, name) for name in access_claims) and not _of_sign_in(claims)


def auth0_application(claims: Claims) -> bool:
    subject, azp, client = (text(claims, name) for name in ("sub", "azp", "client_id"))
    if claims.get("gty") == "client-credentials" and azp:
        return subject == f"{azp}@clients"
    return bool(client) and subject in (client, f"{client}@clients")


def auth0_person(claims: Claims) -> bool:
    subject = text(claims, "sub")
    by_a_client = claims.get("gty") == "client-credentials" or subject.endswith("@clients")
    return "|" in subject and not by_a_client


# https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
def cognito_access_token(claims: Claims) -> bool:
    return claims.get("token_use") == "access"


def cognito_application(claims: Claims) -> bool:
    return "username" not in claims and _equal(claims, "sub", "client_id")


def cognito_person(claims: Claims) -> bool:
    return bool(text(claims, "username"))


# https://cloud.google.com/docs/authentication/token-types#id
# An ID token by nature: our own `aud`, which is always demanded, is what makes it one for us.
def _google_address(claims: Claims) -> str:
    return text(claims, "email") if claims.get("email_verified") is True else ""


def google_application(claims: Claims) -> bool:
    return _google_address(claims).endswith(".gserviceaccount.com")


def google_person(claims: Claims) -> bool:
    return "@" in _google_address(claims) and not google_application(claims)


# https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
def kubernetes_application(claims: Claims) -> bool:
    bound = claims.get("kubernetes.io")
    account = bound.get("serviceaccount") if isinstance(bound, Mapping) else None
    if not isinstance(bound, Mapping) or not isinstance(account, Mapping):
        return False
    namespace, name = text(bound, "namespace"), text(account, "name")
    subject = f"system:serviceaccount:{namespace}:{name}"
    return bool(namespace and name) and text(claims, "sub") == subject
