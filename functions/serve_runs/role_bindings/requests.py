"""The body and query of role bindings; docs/openapi.json is generated from them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from byline.identity.caller import ANONYMOUS, MAX_PRINCIPAL_BYTES, Principal
from byline.identity.claims import MAX_SUBJECT_BYTES
from byline.identity.typed_text import fault_of_typed
from serve_runs.access.control import ADMIN_ROLE
from serve_runs.access.decisions import role_names
from serve_runs.errors import RequestFailed
from serve_runs.web.requests import END, PRINTABLE

SubjectText = Annotated[str, Meta(min_length=1, max_length=MAX_SUBJECT_BYTES, pattern=PRINTABLE)]
IssuerText = Annotated[str, Meta(min_length=1, max_length=512, pattern="^[^#\x00-\x20\x7f]+" + END)]
PrincipalText = Annotated[
    str, Meta(min_length=1, max_length=MAX_PRINCIPAL_BYTES, pattern=PRINTABLE)
]
EmailText = Annotated[
    str,
    Meta(min_length=3, max_length=320, pattern="^[^@\x00-\x20\x7f]+@[^@\x00-\x20\x7f]+" + END),
]
"""Something at something, of at most 320 characters (RFC 3696, erratum 1690)."""

RoleName = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9:-]+" + END)]


class NamedPrincipal(msgspec.Struct, frozen=True):
    """A principal as `who` shows it. The other members of `who` are ignored."""

    kind: Literal["user", "application"]
    issuer: IssuerText
    subject: SubjectText


class _Binding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    role: RoleName
    subject: SubjectText | None = None
    email: Annotated[
        EmailText | None,
        Meta(description="The address of exactly one person, verified by the person's issuer."),
    ] = None
    kind: Annotated[
        Literal["user", "application", "anonymous"] | None,
        Meta(description="The kind of `subject`, by default `user`; or `anonymous` alone."),
    ] = None
    issuer: Annotated[
        IssuerText | None,
        Meta(
            description="The issuer of `subject`, by default the one that browsers sign in with, "
            "and for an application the only one of `TrustedIssuers`."
        ),
    ] = None


class RoleBinding(_Binding, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A role of a principal in a project, named by exactly one of `subject`, `email` and
    `principal`, or as `anonymous`."""

    principal: Annotated[
        PrincipalText | NamedPrincipal | None,
        Meta(description="`kind:issuer#subject` as in audit records, or an object as in `who`."),
    ] = None


class RevokedBinding(_Binding, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The binding to revoke, from the query."""

    principal: Annotated[
        PrincipalText | None, Meta(description="`kind:issuer#subject` as in audit records.")
    ] = None


def require_role(role: str) -> None:
    """Raise `RequestFailed` (`invalid_body`) unless `role` can be granted."""
    if role not in role_names():
        roles = ", ".join(sorted(role_names()))
        raise RequestFailed("invalid_body", f"Unknown role `{role}`. Roles: {roles}.")


def require_visible(binding: RoleBinding) -> None:
    """Raise `RequestFailed` (`invalid_body`) where a subject or issuer in the body is not visible.

    That of a person found by e-mail address comes from a verified token, and is not checked.
    """
    named = binding.principal
    texts = {"subject": binding.subject, "issuer": binding.issuer}
    if isinstance(named, NamedPrincipal):
        texts |= {"principal.subject": named.subject, "principal.issuer": named.issuer}
    else:
        texts["principal"] = named
    for member, text in texts.items():
        if fault := fault_of_typed(text or ""):
            raise RequestFailed("invalid_body", f"`{member}` {fault}.")


def require_grantable(role: str, principal: Principal, *, anonymous_may_call: bool) -> None:
    """Raise `RequestFailed` (`invalid_body`) unless `principal` can be granted `role`.

    `anonymous_may_call`: whether the deployment accepts callers without a credential.
    """
    require_role(role)
    if principal == ANONYMOUS and not anonymous_may_call:
        raise RequestFailed(
            "invalid_body",
            "This deployment refuses callers without a credential (`AnonymousCallers`), so a role"
            " of `anonymous` would have no effect.",
        )
    if principal == ANONYMOUS and role == ADMIN_ROLE:
        # Anyone could then lock out all others. Such an admin would also count as the last one.
        raise RequestFailed(
            "invalid_body", f"`{ADMIN_ROLE}` cannot be granted to `anonymous`. Name a principal."
        )
