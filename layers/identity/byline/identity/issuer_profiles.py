"""Issuer profiles: what the claims of each provider's tokens prove, as data.

Nothing is assumed without a proof. A subject that is proved to be neither a service account nor a
person is of unknown kind. An operator replaces single members of a profile in `TRUSTED_ISSUERS`.

Each issuer's tokens, with sources and examples: docs/issuers.md.
"""

from collections.abc import Mapping
from copy import replace
from typing import Any

import msgspec

from byline.identity.claim_conditions import Conditions
from byline.identity.trusted_issuers import IssuerProfile, TrustedIssuer


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The claim rules of one provider.

    `access_token_when`: the token is an access token, although its header does not say so.
    `is_typed_by_claims`: all its tokens have their type in a claim, which a header cannot replace.
    `person_when` is asked only of a subject that is no application. `subject`: the claims that name
    the caller, the first one that is present counts. `name`: the templates of its readable name.
    `link`: those of a page about a workload's job. `actor`: the claim with the person who set the
    job off, which is shown and gives no right.
    """

    access_token_when: Conditions
    application_when: Conditions
    person_when: Conditions
    subject: tuple[str, ...] = ("sub",)
    name: tuple[str, ...] = ("{preferred_username}", "{username}")
    link: tuple[str, ...] = ()
    actor: str = ""
    is_typed_by_claims: bool = False


def profile_of(issuer: TrustedIssuer) -> Profile:
    """The claim rules of an issuer: those of its profile, with the members that it replaces."""
    return replace(PROFILES[issuer.profile], **issuer.rules)


def _unbound(*alternatives: Mapping[str, Any]) -> Conditions:
    """The alternatives for a token that is not bound to a sign-in, as ID tokens are.

    OpenID Connect Core 1.0, sections 2 and 3.3.2.11.
    """
    sign_in: Mapping[str, Any] = {"nonce": None, "at_hash": None, "c_hash": None}
    return tuple({**alternative, **sign_in} for alternative in alternatives)


_ANY: Conditions = ({},)
"""For issuers whose only tokens are identity tokens: the required `aud` is what makes one a
credential for Byline."""


def _workload(
    *, name: tuple[str, ...] = ("{sub}",), link: tuple[str, ...] = (), actor: str = ""
) -> Profile:
    """The rules of an issuer whose tokens are all those of machines."""
    return Profile(
        access_token_when=_ANY,
        application_when=_ANY,
        person_when=(),
        name=name,
        link=link,
        actor=actor,
    )


_SERVICE_NAME = "(?i)service-account-{azp}"

PROFILES: Mapping[IssuerProfile, Profile] = {
    # RFC 9068: `client_id` is required (2.2). `sub` is the client's id only where no person takes
    # part (5), but some issuers write another id. A sign-in of a person proves one (2.2.1).
    "generic": Profile(
        access_token_when=_unbound({"client_id": "*"}),
        application_when=({"sub": "{client_id}"},),
        person_when=(
            {"client_id": "*", "auth_time": "*"},
            {"client_id": "*", "amr": "*"},
            {"client_id": "*", "given_name": "*"},
            {"client_id": "*", "family_name": "*"},
        ),
    ),
    "keycloak": Profile(
        access_token_when=({"typ": "Bearer"},),
        # The name alone can be a person's choice.
        application_when=(
            {"preferred_username": _SERVICE_NAME, "client_id": "{azp}"},
            {"preferred_username": _SERVICE_NAME, "clientHost": "*"},
            {"preferred_username": _SERVICE_NAME, "clientAddress": "*"},
        ),
        person_when=(
            {"sid": "*"},
            {"session_state": "*"},
            {"azp": "*", "preferred_username": ["*", f"!{_SERVICE_NAME}"]},
        ),
        is_typed_by_claims=True,
    ),
    # `sub` is a login, which may get a new owner, or on some custom servers the client's id.
    "okta": Profile(
        access_token_when=_unbound({"cid": "*"}),
        application_when=({"uid": None, "sub": "{cid}"},),
        person_when=({"cid": "*", "uid": "*"},),
        subject=("uid", "sub"),
        name=("{preferred_username}", "{sub}"),
    ),
    # `roles`, `azp` and `appid` prove nothing: people and applications have them.
    "entra": Profile(
        access_token_when=_unbound(
            {"azp": "*"}, {"appid": "*"}, {"scp": "*"}, {"idtyp": "*"}, {"sub": "{oid}"}
        ),
        application_when=({"idtyp": "app"}, {"idtyp": None, "scp": None, "sub": "{oid}"}),
        person_when=({"idtyp": "user"}, {"scp": "*"}),
        name=("{app_displayname}", "{preferred_username}", "{upn}", "{unique_name}"),
    ),
    # The profile of RFC 9068 has no `gty`, and its `sub` may have the suffix as well.
    "auth0": Profile(
        access_token_when=_unbound({"azp": "*"}, {"client_id": "*"}, {"scope": "*"}, {"gty": "*"}),
        application_when=(
            {"gty": "client-credentials", "sub": "{azp}@clients"},
            {"gty": "!client-credentials", "sub": ["{client_id}", "{client_id}@clients"]},
            {"azp": None, "sub": ["{client_id}", "{client_id}@clients"]},
        ),
        person_when=({"sub": ["*|*", "!*@clients"], "gty": "!client-credentials"},),
    ),
    "cognito": Profile(
        access_token_when=({"token_use": "access"},),
        application_when=({"username": None, "sub": "{client_id}"},),
        person_when=({"username": "*"},),
        is_typed_by_claims=True,
    ),
    "google": Profile(
        access_token_when=_ANY,
        application_when=({"email": "*.gserviceaccount.com", "email_verified": True},),
        person_when=({"email": "*@*", "email_verified": True},),
        name=("{preferred_username}", "{email}"),
    ),
    # `user_type` is a claim of an Action: without it, nothing tells people and service users apart.
    "zitadel": Profile(
        access_token_when=_unbound({"client_id": "*"}, {"azp": "*"}),
        application_when=({"user_type": "machine"}, {"sub": ["{client_id}", "{azp}"]}),
        person_when=({"user_type": "human"},),
    ),
    # Only access tokens have `uid`. Only a browser's session has `sid`.
    "authentik": Profile(
        access_token_when=({"uid": "*", "azp": "*"},),
        application_when=({"sid": None, "preferred_username": "ak-*-client_credentials"},),
        person_when=({"sid": "*"}, {"amr": "*"}),
    ),
    # PingOne and PingFederate leave `sub` out for a client, PingAM writes `(age!name)`.
    "ping": Profile(
        access_token_when=_unbound({"client_id": "*"}, {"tokenName": "access_token"}),
        application_when=(
            {"sub": None, "client_id": "*"},
            {"sub": "{client_id}"},
            {"sub": "(age!*"},
            {"grant_type": "client_credentials"},
        ),
        person_when=({"sub": "(usr!*"}, {"client_id": "*", "sid": "*"}),
        subject=("sub", "client_id"),
        name=("{preferred_username}", "{username}", "{subname}"),
    ),
    # A client's token has no `sub`. A person's has the claims that the issuance rules add.
    "adfs": Profile(
        access_token_when=_unbound({"apptype": "*", "appid": "*"}),
        application_when=({"sub": None, "upn": None, "unique_name": None, "scp": None},),
        person_when=({"appid": "*", "scp": "*"}, {"appid": "*", "upn": "*"}),
        subject=("sub", "upn", "unique_name", "appid"),
        name=("{unique_name}", "{upn}"),
    ),
    # A client's token has no `sub`, so its `client_id` is the subject.
    "duende": Profile(
        access_token_when=_unbound({"client_id": "*"}),
        application_when=({"sub": None, "client_id": "*"},),
        person_when=({"client_id": "*", "sub": "*", "idp": "*"},),
        subject=("sub", "client_id"),
    ),
    "fusionauth": Profile(
        access_token_when=_unbound({"authenticationType": "*"}, {"gty": "client_credentials"}),
        application_when=({"gty": "client_credentials"},),
        person_when=({"authenticationType": "*"},),
    ),
    # ID tokens and access tokens have the same claims, and no client has a token of its own.
    "dex": Profile(
        access_token_when=_ANY,
        application_when=(),
        person_when=({"email": "*@*", "email_verified": True},),
    ),
    # Identity-aware proxies: Google's, and Cloudflare Access, whose service tokens have no `sub`.
    "iap": Profile(
        access_token_when=_ANY,
        application_when=({"email": "*.gserviceaccount.com"}, {"common_name": "*"}),
        person_when=({"email": "*@*"},),
        subject=("sub", "common_name"),
        name=("{preferred_username}", "{email}"),
    ),
    "kubernetes": Profile(
        access_token_when=_ANY,
        application_when=(
            {
                "sub": "system:serviceaccount:{kubernetes.io > namespace}"
                ":{kubernetes.io > serviceaccount > name}"
            },
        ),
        person_when=(),
        name=("{kubernetes.io > namespace}/{kubernetes.io > serviceaccount > name}",),
    ),
    "github": _workload(
        name=("{repository} @ {short ref}, workflow {workflow}", "{repository}"),
        link=("https://github.com/{repository}/actions/runs/{run_id}",),
        actor="actor",
    ),
    "gitlab": _workload(
        name=("{project_path} @ {short ref}", "{project_path}"),
        link=("{iss}/{project_path}/-/jobs/{job_id}",),
        actor="user_login",
    ),
    "aws": _workload(),
    "spiffe": _workload(),
    "workload": _workload(),
}
"""The claim rules of each profile."""
