"""A role binding as the API shows it, and as the audit trail names it."""

from typing import Any

from byline.identity.caller import Principal
from serve_runs.audit.trail import AuditedResource


def binding_json(principal: Principal, roles: list[str]) -> dict[str, Any]:
    """A principal's roles as the API shows them."""
    return {
        "kind": principal.kind,
        "issuer": principal.issuer or None,
        "subject": principal.subject or None,
        "roles": sorted(roles),
    }


def binding_resource(project: str, principal: Principal, role: str) -> AuditedResource:
    """A binding as the audit trail names it."""
    return AuditedResource(project, "role_binding", f"{role} {principal.text}")
