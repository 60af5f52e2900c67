"""The body and query of role bindings; docs/openapi.json is generated from them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from byline.identity.caller import ANONYMOUS, MAX_PRINCIPAL_BYTES, Principal
from byline.identity.claims import MAX_SUBJECT_BYTES
from byline.identity.typed_text import fault_of_typed
from serve_runs.access.admins import DefaultIssuers
from serve_runs.access.control import ADMIN_ROLE
from serve_runs.access.decisions import role_names
from serve_runs.errors import RequestFailed
from serve_runs.web.requests import END, PRINTABLE

SubjectText = Annotated[str, Meta(min_length=1, max_length=MAX_SUBJECT_BYTES, pattern=PRINTABLE)]
IssuerText = Annotated[str, Meta(min_length=1, max_length=512, pattern="^[^#\x00-\x20\x7f]+" + END)]
RoleName = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9:-]+" + END)]


class RoleBinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role of a principal in a project. `issuer`: by default the one that browsers sign in with,
    and for an application the only one of `TrustedIssuers`."""

    role: RoleName
    subject: SubjectText | None = None
    kind: Literal["user", "application", "anonymous"] = "user"
    issuer: IssuerText | None = None

    def principal(self, issuers: DefaultIssuers) -> Principal:
        """The principal of the binding. Raises `RequestFailed` (`invalid_parameter`)."""
        if self.kind == "anonymous":
            if self.subject is not None or self.issuer is not None:
                raise RequestFailed(
                    "invalid_parameter", "The kind `anonymous` takes no `subject` and no `issuer`."
                )
            return ANONYMOUS
        if self.subject is None:
            raise RequestFailed("invalid_parameter", "`subject` is required.")
        issuer = self.issuer or issuers.of(self.kind)
        if not issuer:
            raise RequestFailed("invalid_parameter", _issuer_required(self.kind, issuers))
        principal = Principal(self.kind, issuer, self.subject)
        if len(principal.text.encode()) > MAX_PRINCIPAL_BYTES:
            raise RequestFailed(
                "invalid_parameter", "`issuer` and `subject` are too long together."
            )
        return principal


def require_role(role: str) -> None:
    """Raise `RequestFailed` (`invalid_body`) unless `role` can be granted."""
    if role not in role_names():
        roles = ", ".join(sorted(role_names()))
        raise RequestFailed("invalid_body", f"Unknown role `{role}`. Roles: {roles}.")


def require_grantable(role: str, principal: Principal, *, anonymous_may_call: bool) -> None:
    """Raise `RequestFailed` (`invalid_body`) unless `principal` can be granted `role`.

    `anonymous_may_call`: whether the deployment accepts callers without a credential.
    """
    require_role(role)
    for member, text in (("subject", principal.subject), ("issuer", principal.issuer)):
        if fault := fault_of_typed(text):
            raise RequestFailed("invalid_body", f"`{member}` {fault}.")
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


def _issuer_required(kind: str, issuers: DefaultIssuers) -> str:
    trusted = ", ".join(sorted(issuers.trusted)) or "none"
    return f"`issuer` is required for the {kind}. Trusted issuers: {trusted}."
