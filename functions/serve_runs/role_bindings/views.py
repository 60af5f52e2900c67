"""A role binding as the API shows it, and as the audit trail names it."""

from typing import Any, TypedDict

from byline.identity.caller import ANONYMOUS, Principal
from serve_runs.access.admins import DefaultIssuers
from serve_runs.audit.trail import AuditedResource
from serve_runs.profiles.store import StoredProfile

WARNING_CODES = ("not_seen", "untrusted_issuer")


class BindingWarning(TypedDict):
    """Why a binding may have no effect. `detail`: what is wrong, and what to do."""

    code: str
    detail: str


def principal_json(principal: Principal, profile: StoredProfile | None) -> dict[str, Any]:
    """A principal as the API shows it, with the names of its profile.

    `seen`: whether it has called with a credential that was verified; null for `anonymous`.
    """
    return {
        "kind": principal.kind,
        "issuer": principal.issuer or None,
        "subject": principal.subject or None,
        "name": (profile and profile.name) or principal.subject or None,
        "email": (profile and profile.email) or None,
        "seen": None if principal == ANONYMOUS else profile is not None,
    }


def binding_json(
    principal: Principal, roles: list[str], profile: StoredProfile | None
) -> dict[str, Any]:
    """A principal's roles as the API shows them."""
    return {**principal_json(principal, profile), "roles": sorted(roles)}


def candidate_json(principal: Principal, profile: StoredProfile) -> dict[str, Any]:
    """An owner of an e-mail address. `principal`: the text that names it in a request."""
    return {
        "principal": principal.text,
        "name": profile.name or principal.subject,
        "email": profile.email,
        "email_verified": profile.email_verified,
    }


def binding_warnings(
    principal: Principal, profile: StoredProfile | None, *, issuers: DefaultIssuers
) -> list[BindingWarning]:
    """The warnings of a binding that has no effect now."""
    if principal == ANONYMOUS:
        return []
    if principal.issuer not in issuers.trusted:
        trusted = ", ".join(sorted(issuers.trusted))
        detail = (
            f"`{principal.issuer}` is not a trusted issuer, so the role has no effect. Trusted"
            f" issuers: {trusted}."
        )
        return [BindingWarning(code="untrusted_issuer", detail=detail)]
    if profile is not None:
        return []
    detail = (
        f"No {principal.kind} with this subject has called Byline. Compare it with `subject` in"
        " their answer to `GET /v1/whoami`."
    )
    if "@" in principal.subject:
        detail += " To name a person by e-mail address, send `email`."
    return [BindingWarning(code="not_seen", detail=detail)]


def binding_resource(project: str, principal: Principal, role: str) -> AuditedResource:
    """A binding as the audit trail names it."""
    return AuditedResource(project, "role_binding", f"{role} {principal.text}")
