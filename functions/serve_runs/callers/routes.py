"""The routes about the caller itself, and the health check."""

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import read_executed_by, who
from serve_runs.access.control import AccessControl
from serve_runs.calls import Call, json_answer
from serve_runs.web.routing import Route


class CallerRoutes(msgspec.Struct, frozen=True):
    """The routes about the caller itself."""

    access_control: AccessControl

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("GET", "/healthz", check_health, is_public=True),
            Route("GET", "/v1/whoami", self.show_caller),
        )

    def show_caller(self, call: Call) -> Response[str]:
        """The caller, and the person that it acts for. 401 for an anonymous caller."""
        caller = call.known_caller()
        acts_for = self.access_control.acts_for(caller)
        return json_answer(
            200,
            {
                "executed_by": caller.identity,
                "kind": caller.kind,
                "source": caller.source,
                "on_behalf_of": None if acts_for is None else read_executed_by(acts_for.identity),
                "who": {
                    "executed_by": who(caller.stored, issuer=caller.issuer),
                    "on_behalf_of": acts_for
                    and who(acts_for.identity, issuer=acts_for.person.issuer),
                },
            },
        )


def check_health() -> Response[str]:
    """A constant answer. It needs no caller and reads no data."""
    return json_answer(200, {"status": "ok"})
