"""The routes of projects.

caller → the rows that give it roles → policy → the projects as JSON.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import Principal, principal_of
from serve_runs.access.control import Access
from serve_runs.calls import Call, json_answer
from serve_runs.errors import not_found
from serve_runs.people.places import read_place
from serve_runs.projects.store import ProjectStore
from serve_runs.projects.views import project_json
from serve_runs.web.paging import PageQuery, decode_cursor, encode_cursor
from serve_runs.web.routing import Route

PROJECTS = "/v1/projects"


@dataclass(frozen=True, slots=True)
class ProjectRoutes:
    """The routes. `admins`: the principals in `ProjectAdmins`.

    `is_new`: whether no table has a row of a project.
    """

    store: ProjectStore
    admins: frozenset[Principal]
    is_new: Callable[[str], bool]

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("GET", PROJECTS, self.list_projects),
            Route("GET", f"{PROJECTS}/<project>", self.show_project),
        )

    def list_projects(self, call: Call) -> Response[str]:
        """The projects in which the caller has roles, in no particular order.

        `all_projects` is true for principals in `ProjectAdmins`: they administer every project, and
        the list has those where they have roles besides. `complete` is false until the rows that
        earlier versions wrote are in the index.
        """
        query = call.query(PageQuery)
        principal, is_agent = principal_of(call.caller), _is_agent(call)
        binding = f"projects of {principal.text}{' as an agent' * is_agent}"
        after = read_place(decode_cursor(query.cursor, query=binding)) if query.cursor else None
        held, last = self.store.held_by(
            principal, is_agent=is_agent, limit=query.limit, after=after
        )
        accesses = call.read_accesses([project.name for project in held])
        shown = [each for each in held if accesses[each.name].may("read_project")]
        rows = self.store.rows_of([each.name for each in shown])
        is_admin = self._is_admin(call)
        projects = [
            project_json(
                each.name,
                rows.get(each.name),
                each.roles | _registered(accesses[each.name]),
                is_admin=is_admin,
            )
            for each in shown
        ]
        return json_answer(
            200,
            {
                "projects": projects,
                "all_projects": is_admin,
                "complete": self.store.is_complete(),
                "next_cursor": last and encode_cursor(last.text, query=binding),
            },
        )

    def show_project(self, call: Call) -> Response[str]:
        """A project: who created it, and the caller's roles. 404 for callers without a role."""
        access = call.access
        access.require("read_project")
        is_admin = self._is_admin(call)
        roles = _stored_roles(access)
        row = self.store.rows_of([call.project]).get(call.project)
        if is_admin and not roles and row is None and self.is_new(call.project):
            raise not_found()
        return json_answer(200, project_json(call.project, row, roles, is_admin=is_admin))

    def _is_admin(self, call: Call) -> bool:
        """Whether `ProjectAdmins` names the caller. It does not count for an agent of a person."""
        return not _is_agent(call) and principal_of(call.caller) in self.admins


def _is_agent(call: Call) -> bool:
    """Whether the caller is an agent whose token names a person."""
    return call.caller is not None and call.caller.represents is not None


def _registered(access: Access) -> frozenset[str]:
    """The roles that an application has by its registration, or an agent by its permission."""
    return frozenset() if access.acts_for is None else access.acts_for.roles


def _stored_roles(access: Access) -> frozenset[str]:
    """The caller's roles in rows, without the one that `ProjectAdmins` gives."""
    own = access.assignments[0]
    if own.read_others is None:
        return own.roles
    return own.read_others() | _registered(access)
