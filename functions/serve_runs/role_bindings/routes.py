"""The routes of role bindings: the roles of principals in a project.

caller → policy → one transaction of the binding, the number of admins and the record.
"""

from dataclasses import dataclass

from aws_lambda_powertools.event_handler import Response

from serve_runs.audit.rights import given_rights
from serve_runs.audit.trail import AuditTrail
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.role_bindings.principals import Principals
from serve_runs.role_bindings.requests import (
    RevokedBinding,
    RoleBinding,
    require_grantable,
    require_visible,
)
from serve_runs.role_bindings.store import RoleStore
from serve_runs.role_bindings.views import binding_json, binding_resource, binding_warnings
from serve_runs.web.paging import PageQuery, decode_cursor, encode_cursor
from serve_runs.web.routing import Route

ROLE_BINDINGS = "/v1/projects/<project>/role-bindings"


@dataclass(frozen=True, slots=True)
class RoleBindingRoutes:
    """The routes. `anonymous_may_call`: whether callers without a credential are accepted."""

    store: RoleStore
    audit: AuditTrail
    principals: Principals
    anonymous_may_call: bool

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("GET", ROLE_BINDINGS, self.list_role_bindings),
            Route("PUT", ROLE_BINDINGS, self.grant_role, takes_body=True),
            Route("DELETE", ROLE_BINDINGS, self.revoke_role),
        )

    def list_role_bindings(self, call: Call) -> Response[str]:
        """The principals that have roles in a project, with their roles."""
        self._require(call, "read_roles")
        query = call.query(PageQuery)
        binding = f"role bindings of {call.project}"
        after = decode_cursor(query.cursor, query=binding)
        found, last = self.store.list_bindings(call.project, limit=query.limit, after=after)
        next_cursor = encode_cursor(last, query=binding)
        profiles = self.principals.profiles.read(found)
        shown = [
            binding_json(principal, roles, profiles.get(principal))
            for principal, roles in found.items()
        ]
        return json_answer(200, {"role_bindings": shown, "next_cursor": next_cursor})

    def grant_role(self, call: Call) -> Response[str]:
        """Grant a principal a role: 201, or 200 where it has the role already.

        An e-mail address is resolved once, to the principal that has it now. `warnings` say why the
        role has no effect yet.
        """
        self._require(call, "grant_role")
        body = call.body(RoleBinding)
        require_visible(body)
        principal = self.principals.of(body, call.access)
        require_grantable(body.role, principal, anonymous_may_call=self.anonymous_may_call)
        profile = self.principals.profiles.read([principal]).get(principal)
        resource = binding_resource(call.project, principal, body.role)
        rights = given_rights(principal, [body.role])
        record = self.audit.record(call.action, "grant_role", resource, details=rights)
        outcome = self.store.grant(call.project, principal, body.role, record=record)
        call.log(f"role {outcome}", role=body.role, of=principal.text)
        document = {
            **binding_json(principal, [body.role], profile),
            "warnings": binding_warnings(principal, profile, issuers=self.principals.issuers),
        }
        return json_answer(201 if outcome == "created" else 200, document)

    def revoke_role(self, call: Call) -> Response[str]:
        """Revoke a role: 204, 404 where the principal does not have it, 409 for the last admin."""
        self._require(call, "revoke_role")
        query = call.query(RevokedBinding)
        principal = self.principals.of(query, call.access)
        resource = binding_resource(call.project, principal, query.role)
        rights = given_rights(principal, [query.role])
        record = self.audit.record(call.action, "revoke_role", resource, details=rights)
        self.store.revoke(call.project, principal, query.role, record=record)
        call.log("role revoked", role=query.role, of=principal.text)
        return no_content()

    def _require(self, call: Call, action: str) -> None:
        call.access.require(action, call.access.resource("RoleBindings", ""))
