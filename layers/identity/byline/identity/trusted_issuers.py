"""The issuers whose Bearer tokens count, as the setting `TRUSTED_ISSUERS` lists them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from byline.errors import Misconfigured
from byline.identity.claim_conditions import (
    Conditions,
    fault_of_conditions,
    fault_of_path,
    fault_of_template,
)
from byline.identity.claims import MAX_SUBJECT_BYTES
from byline.identity.typed_text import fault_of_typed
from byline.identity.unverified import strict_json
from byline.settings import require_base_url
from byline.urls import require_https

IssuerProfile = Literal[
    "generic",
    "keycloak",
    "okta",
    "entra",
    "auth0",
    "cognito",
    "google",
    "zitadel",
    "authentik",
    "ping",
    "adfs",
    "duende",
    "fusionauth",
    "dex",
    "iap",
    "kubernetes",
    "github",
    "gitlab",
    "aws",
    "spiffe",
    "workload",
]
Algorithm = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
]
"""Asymmetric algorithms only. With a shared-secret algorithm, anyone could sign with a public key
(RFC 8725, section 2.1)."""

MAX_ISSUER_BYTES = 512
"""A sort key has at most 1,024 bytes. Beside the issuer it holds a subject of up to 315 bytes."""

_OWNER_CLAIMS: Mapping[IssuerProfile, tuple[str, ...]] = {
    "github": (
        "repository",
        "repository_owner",
        "repository_id",
        "repository_owner_id",
        "enterprise_id",
        "sub",
    ),
    "gitlab": ("project_path", "namespace_path", "project_id", "namespace_id", "sub"),
    "workload": (),
}
"""The profiles that need `allow`, and the claims that name the owner of a job."""

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]

type Texts = NonEmpty | Annotated[tuple[NonEmpty, ...], msgspec.Meta(min_length=1)]
"""One text, or a list of them in the order of preference."""


class CommandLineClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The public OAuth client with which people sign in from a terminal, and the asked scopes."""

    client_id: NonEmpty
    scope: NonEmpty = "openid profile email offline_access"


class TrustedIssuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An issuer whose Bearer tokens count, and the requirements for its tokens.

    `audiences`: the token's `aud` must contain one of them. `jwks_uri`: the address of the keys; by
    default the discovery document names it. `userinfo`: whether the userinfo endpoint completes a
    person's profile. `service_accounts`: subject → name, for subjects that are service accounts
    whatever the claim rules prove. The members after it replace those of `profile`: see
    `issuer_profiles.Profile`, and `claim_conditions` for what a condition is. `allow`: conditions
    of which a token must meet one. `cli`: the client of the command `byline`.
    """

    issuer: NonEmpty
    audiences: Annotated[tuple[NonEmpty, ...], msgspec.Meta(min_length=1)]
    profile: IssuerProfile
    algorithms: Annotated[tuple[Algorithm, ...], msgspec.Meta(min_length=1)] = ("RS256",)
    jwks_uri: str | None = None
    userinfo: bool = False
    service_accounts: dict[NonEmpty, NonEmpty] = {}
    application_when: Any = None
    person_when: Any = None
    subject: Texts | None = None
    name: Texts | None = None
    link: Texts | None = None
    allow: Any = None
    cli: CommandLineClient | None = None

    @property
    def allowed(self) -> Conditions | None:
        """The conditions of which a token must meet one; None where `audiences` are enough."""
        return alternatives(self.allow)

    @property
    def rules(self) -> dict[str, Any]:
        """The members that replace those of the profile, by name."""
        members: dict[str, Any] = {
            "application_when": alternatives(self.application_when),
            "person_when": alternatives(self.person_when),
            "subject": texts(self.subject),
            "name": texts(self.name),
            "link": texts(self.link),
        }
        return {name: value for name, value in members.items() if value is not None}


def read_trusted_issuers(text: str) -> tuple[TrustedIssuer, ...]:
    """The issuers in the JSON `text`, none for an empty one. Raises `Misconfigured`."""
    if not text:
        return ()
    try:
        issuers = msgspec.json.decode(text, type=tuple[TrustedIssuer, ...])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Misconfigured("TRUSTED_ISSUERS", str(error)) from None
    if strict_json(text.encode()) is None:
        raise Misconfigured("TRUSTED_ISSUERS", "has an object with two members of one name.")
    seen: set[str] = set()
    for issuer in issuers:
        if issuer.issuer in seen:
            raise Misconfigured("TRUSTED_ISSUERS", f"lists {issuer.issuer!r} twice.")
        seen.add(issuer.issuer)
        require_issuer("TRUSTED_ISSUERS", issuer.issuer)
        _check_address(issuer)
        _check_rules(issuer)
    return issuers


def _check_address(issuer: TrustedIssuer) -> None:
    """Raise `Misconfigured` where the keys of an issuer could not be found.

    They are found from its name, a URL (OpenID Connect Discovery 1.0, section 3), or at `jwks_uri`.
    With the latter the name may be any text: AD FS writes an `http` URL, SPIFFE a trust domain.
    """
    if issuer.jwks_uri is None or issuer.userinfo:
        require_base_url("TRUSTED_ISSUERS", issuer.issuer)
    elif not issuer.issuer.isprintable() or {"#", " "} & set(issuer.issuer):
        raise _wrong(issuer, "has a space, a control character or a `#` in its name")
    if issuer.jwks_uri is not None:
        require_https("TRUSTED_ISSUERS", issuer.jwks_uri)


def alternatives(value: Any) -> Conditions | None:
    """A condition or a list of them as alternatives; None for None."""
    if value is None:
        return None
    return tuple(value) if isinstance(value, list) else (value,)


def texts(value: Texts | None) -> tuple[str, ...] | None:
    """A text or a list of them as texts; None for None."""
    return (value,) if isinstance(value, str) else value


def _check_rules(issuer: TrustedIssuer) -> None:
    rules = issuer.rules
    allowed = issuer.allowed
    conditions = {**rules, "allow": () if allowed is None else allowed}
    for member in ("application_when", "person_when", "allow"):
        if fault := fault_of_conditions(conditions.get(member, ())):
            raise _wrong(issuer, f"has `{member}`, which {fault}")
    for path in rules.get("subject", ()):
        if fault := fault_of_path(path):
            raise _wrong(issuer, f"has `subject`, which {fault}: {path!r}")
    for member in ("name", "link"):
        for template in rules.get(member, ()):
            if fault := fault_of_template(template):
                raise _wrong(issuer, f"has `{member}`, which {fault}: {template!r}")
    _check_service_accounts(issuer)
    _check_owners(issuer)


def _check_service_accounts(issuer: TrustedIssuer) -> None:
    for subject in issuer.service_accounts:
        if len(subject.encode()) > MAX_SUBJECT_BYTES:
            raise _wrong(
                issuer, f"has a subject in `service_accounts` of over {MAX_SUBJECT_BYTES} bytes"
            )
        if fault := fault_of_typed(subject):
            raise _wrong(issuer, f"has {subject!r} in `service_accounts`, which {fault}")


def _check_owners(issuer: TrustedIssuer) -> None:
    """Raise `Misconfigured` where strangers of the same issuer could get in.

    Everybody can have a job at GitHub or GitLab, which gets a token for any audience.
    """
    owners = _OWNER_CLAIMS.get(issuer.profile)
    if owners is None:
        return
    if not issuer.allowed:
        raise _wrong(issuer, f"needs `allow`: the profile `{issuer.profile}` admits nobody else")
    for condition in issuer.allowed:
        if owners and not any(_names_owner(condition.get(claim)) for claim in owners):
            raise _wrong(
                issuer,
                f"has `allow` without an owner. Name one of {', '.join(owners)} in each condition,"
                " with a `/` before any `*`",
            )


def _names_owner(test: Any) -> bool:
    """Whether every text that passes a test begins with a whole name of an owner."""
    names = [test] if isinstance(test, str) else test if isinstance(test, list) else []
    wanted = [name for name in names if not name.startswith("!")]
    return bool(wanted) and all(
        not {"{", "("} & set(name) and ("*" not in name or "/" in name.partition("*")[0])
        for name in wanted
    )


def _wrong(issuer: TrustedIssuer, fault: str) -> Misconfigured:
    return Misconfigured("TRUSTED_ISSUERS", f"{issuer.issuer!r} {fault}. See docs/issuers.md.")


def require_issuer(variable: str, issuer: str) -> None:
    """Raise `Misconfigured` for an issuer that is too long for table keys, or partly invisible."""
    if len(issuer.encode()) > MAX_ISSUER_BYTES:
        raise Misconfigured(variable, f"has an issuer of more than {MAX_ISSUER_BYTES} bytes.")
    if fault := fault_of_typed(issuer):
        raise Misconfigured(variable, f"has the issuer {issuer!r}, which {fault}.")
