"""The routes of people: what a principal has in all projects, and ending it.

caller → policy → the rows of roles, registrations, agents' permissions and live runs → JSON, or one
transaction for each of them.
"""

from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import Principal
from serve_runs.access.decisions import Resource
from serve_runs.calls import Call, json_answer
from serve_runs.people.holdings import Holdings
from serve_runs.people.offboarding import Offboarding
from serve_runs.people.places import KINDS, Holding, Place, read_place
from serve_runs.people.requests import named_principal
from serve_runs.people.views import holdings_json, person_json
from serve_runs.profiles.store import Profiles
from serve_runs.web.paging import PageQuery, decode_cursor, encode_cursor
from serve_runs.web.routing import Route

PERSON = "/v1/people/<principal>"


@dataclass(frozen=True, slots=True)
class PeopleRoutes:
    """The routes. `admins`: the principals in `ProjectAdmins`.

    `default_issuer`: the issuer of a subject given without one, or empty.
    """

    holdings: Holdings
    offboarding: Offboarding
    admins: frozenset[Principal]
    profiles: Profiles
    default_issuer: str

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("GET", PERSON, self.show_person),
            Route("POST", f"{PERSON}/offboard", self.offboard_person),
        )

    def show_person(self, call: Call, principal: str) -> Response[str]:
        """The holdings of a person or application in all projects: roles, registrations, live runs.

        For principals in `ProjectAdmins`, and for everyone about themselves (`me`). `complete` is
        false until the rows that earlier versions wrote are in the indexes.
        """
        named = self._permitted("read_person", call, principal)
        query = call.query(PageQuery)
        binding = _binding(named)
        after = read_place(decode_cursor(query.cursor, query=binding))
        found, last = self.holdings.page(named, limit=query.limit, after=after)
        return json_answer(200, self._document(named, found, last))

    def offboard_person(self, call: Call, principal: str) -> Response[str]:
        """End all that a person or application has: roles, registrations, live runs.

        200 where nothing is left. 202 with what is left where the request ran out of time or the
        indexes are not complete: send it again. A token that was handed out works until it expires,
        and the sign-in at the issuer is not ended.
        """
        named = self._permitted("offboard_person", call, principal)
        outcome = self.offboarding.end_all(named, call.action)
        ended = {kind: outcome.ended[kind] for kind in KINDS}
        document = {
            **self._document(named, outcome.left, outcome.more),
            "ended": ended,
            "projects_without_admin": outcome.without_admin,
        }
        is_done = outcome.is_finished and document["complete"]
        call.log(
            "principal offboarded" if is_done else "principal offboarded in part", of=named.text
        )
        return json_answer(200 if is_done else 202, document)

    def _document(
        self, named: Principal, found: list[Holding], last: Place | None
    ) -> dict[str, Any]:
        return {
            **person_json(named, profiles=self.profiles, is_admin=named in self.admins),
            "complete": self.holdings.are_complete(),
            **holdings_json(found),
            "next_cursor": last and encode_cursor(last.text, query=_binding(named)),
        }

    def _permitted(self, action: str, call: Call, text: str) -> Principal:
        """The principal of a path, after the policies allowed `action` on it."""
        caller = call.known_caller()
        principal = named_principal(text, caller=caller, default_issuer=self.default_issuer)
        resource = Resource("Person", principal.text, {principal.kind: principal})
        call.access.require(action, resource)
        return principal


def _binding(principal: Principal) -> str:
    return f"person {principal.text}"
