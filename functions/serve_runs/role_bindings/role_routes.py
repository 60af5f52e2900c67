"""The route that lists the roles that can be granted, and what each permits."""

from dataclasses import dataclass

from aws_lambda_powertools.event_handler import Response

from serve_runs.access.permissions import roles_json
from serve_runs.calls import Call, json_answer
from serve_runs.web.routing import Route


@dataclass(frozen=True, slots=True)
class RoleRoutes:
    """The route about roles. The same roles can be granted in every project."""

    def routes(self) -> tuple[Route, ...]:
        """The route, with its path."""
        return (Route("GET", "/v1/projects/<project>/roles", self.list_roles),)

    def list_roles(self, call: Call) -> Response[str]:
        """The roles that can be granted, with the actions that each permits."""
        call.access.require("read_roles", call.access.resource("RoleBindings", ""))
        return json_answer(200, {"roles": roles_json()})
