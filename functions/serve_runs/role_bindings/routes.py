"""The routes of role bindings: the roles of principals in a project.

caller → policy → one transaction of the binding, the number of admins and the record.
"""

from dataclasses import dataclass

from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import Principal
from serve_runs.access.admins import DefaultIssuers
from serve_runs.audit.trail import AuditTrail
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.role_bindings.requests import RoleBinding, require_grantable
from serve_runs.role_bindings.store import RoleStore
from serve_runs.role_bindings.views import binding_json, binding_resource
from serve_runs.web.paging import PageQuery, decode_cursor, encode_cursor
from serve_runs.web.routing import Route

ROLE_BINDINGS = "/v1/projects/<project>/role-bindings"


@dataclass(frozen=True, slots=True)
class RoleBindingRoutes:
    """The routes. `issuers`: those of subjects given without one.

    `anonymous_may_call`: whether callers without a credential are accepted.
    """

    store: RoleStore
    audit: AuditTrail
    issuers: DefaultIssuers
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
        after = decode_cursor(query.cursor, query=binding) if query.cursor else None
        found, last = self.store.list_bindings(call.project, limit=query.limit, after=after)
        next_cursor = encode_cursor(last, query=binding) if last else None
        return json_answer(200, {"role_bindings": found, "next_cursor": next_cursor})

    def grant_role(self, call: Call) -> Response[str]:
        """Grant a principal a role: 201, or 200 where it has the role already."""
        self._require(call, "grant_role")
        body = call.body(RoleBinding)
        principal = self._principal(body)
        require_grantable(body.role, principal, anonymous_may_call=self.anonymous_may_call)
        resource = binding_resource(call.project, principal, body.role)
        record = self.audit.record(call.action, "grant_role", resource)
        outcome = self.store.grant(call.project, principal, body.role, record=record)
        call.log(f"role {outcome}", role=body.role, of=principal.text)
        document = binding_json(principal, [body.role])
        return json_answer(201 if outcome == "created" else 200, document)

    def revoke_role(self, call: Call) -> Response[str]:
        """Revoke a role: 204, 404 where the principal does not have it, 409 for the last admin."""
        self._require(call, "revoke_role")
        query = call.query(RoleBinding)
        principal = self._principal(query)
        resource = binding_resource(call.project, principal, query.role)
        record = self.audit.record(call.action, "revoke_role", resource)
        self.store.revoke(call.project, principal, query.role, record=record)
        call.log("role revoked", role=query.role, of=principal.text)
        return no_content()

    def _require(self, call: Call, action: str) -> None:
        call.access.require(action, call.access.resource("RoleBindings", ""))

    def _principal(self, binding: RoleBinding) -> Principal:
        return binding.principal(self.issuers)
