"""The routes of apply sets. They change a list, never what is listed.

caller → policy → one transaction of the row and the record.
"""

from dataclasses import dataclass

from aws_lambda_powertools.event_handler import Response

from serve_runs.apply_sets.requests import ChangeMembers
from serve_runs.apply_sets.store import ApplySetStore
from serve_runs.apply_sets.views import apply_set_json
from serve_runs.audit.trail import AuditedResource, AuditTrail
from serve_runs.calls import Call, json_answer
from serve_runs.errors import not_found
from serve_runs.web.routing import Route

APPLY_SET = "/v1/projects/<project>/apply-sets/<apply_set>"


@dataclass(frozen=True, slots=True)
class ApplySetRoutes:
    """The routes."""

    store: ApplySetStore
    audit: AuditTrail

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("GET", APPLY_SET, self.show_apply_set),
            Route("POST", f"{APPLY_SET}/members", self.change_apply_set, takes_body=True),
        )

    def show_apply_set(self, call: Call, apply_set: str) -> Response[str]:
        """The members of an apply set: 404 for a set without members."""
        call.access.require("read_apply_set", call.access.resource("ApplySet", apply_set))
        row = self.store.find(call.project, apply_set)
        if row is None:
            raise not_found()
        return json_answer(200, apply_set_json(row, project=call.project))

    def change_apply_set(self, call: Call, apply_set: str) -> Response[str]:
        """Add members to a set and remove others: 200 with the set. What they name stays."""
        call.access.require("write_apply_set", call.access.resource("ApplySet", apply_set))
        resource = AuditedResource(call.project, "apply_set", apply_set)
        row, outcome = self.store.change(
            call.project,
            apply_set,
            call.body(ChangeMembers),
            request_id=call.action.request_id,
            record=self.audit.record(call.action, "write_apply_set", resource),
        )
        call.log(f"apply set {outcome}", apply_set=apply_set)
        return json_answer(200, apply_set_json(row, project=call.project))
