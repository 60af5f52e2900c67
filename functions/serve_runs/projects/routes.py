"""The routes of projects.

caller → policy → the rows that give it roles, or the transaction of a new project, or the end of
each thing that a project has → JSON.
"""

from dataclasses import dataclass

from aws_lambda_powertools.event_handler import Response

from byline.identity.caller import Principal, principal_of
from serve_runs.access.control import Access
from serve_runs.access.decisions import Resource
from serve_runs.calls import Call, json_answer
from serve_runs.errors import RequestFailed, forbidden, not_found
from serve_runs.people.places import read_place
from serve_runs.projects.creation import Creation
from serve_runs.projects.deletion import Deletion
from serve_runs.projects.requests import CreateProject, DeleteProject
from serve_runs.projects.store import ProjectStore
from serve_runs.projects.views import deletion_json, project_json
from serve_runs.web.paging import PageQuery, decode_cursor, encode_cursor
from serve_runs.web.routing import Route

PROJECTS = "/v1/projects"
PROJECT = f"{PROJECTS}/<project>"


@dataclass(frozen=True, slots=True)
class ProjectRoutes:
    """The routes. `admins`: the principals in `ProjectAdmins`.

    `anyone_may_create`: whether the others may create projects too.
    """

    store: ProjectStore
    creation: Creation
    deletion: Deletion
    admins: frozenset[Principal]
    anyone_may_create: bool

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("GET", PROJECTS, self.list_projects),
            Route("POST", PROJECTS, self.create_project, takes_body=True),
            Route("GET", PROJECT, self.show_project),
            Route("DELETE", PROJECT, self.delete_project),
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
        after = read_place(decode_cursor(query.cursor, query=binding))
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
        if is_admin and not roles and row is None:
            self._require_rows(call.project)
        return json_answer(200, project_json(call.project, row, roles, is_admin=is_admin))

    def create_project(self, call: Call) -> Response[str]:
        """Create a project with the caller as its admin: 201, or 200 where it did so before.

        For principals in `ProjectAdmins`, and with `ProjectCreation=anyone` for everyone who acts
        for itself. Only the former may take the name of a deleted project.
        """
        call.known_caller()
        is_admin = call.access.may("create_project", Resource("Deployment", "-"))
        if not is_admin and (not self.anyone_may_create or call.access.acts_for is not None):
            raise RequestFailed(
                "forbidden",
                "Only principals in `ProjectAdmins` create projects here. Ask one of them.",
                members={"permission": "create_project"},
            )
        body = call.body(CreateProject)
        outcome = self.creation.create(body.name, action=call.action, may_replace=is_admin)
        call.log(f"project {outcome}", of=body.name)
        row = self.store.rows_of([body.name]).get(body.name)
        roles = call.read_accesses([body.name])[body.name]
        document = project_json(body.name, row, _stored_roles(roles), is_admin=self._is_admin(call))
        location = f"{PROJECTS}/{body.name}"
        return json_answer(201 if outcome == "created" else 200, document, location=location)

    def delete_project(self, call: Call) -> Response[str]:
        """Delete a project with its runners, credentials, agents, service accounts and roles.

        200 when all of it has ended; 202 where something is left: send the request again after
        `retry_after_seconds`. Runs that are over and audit records stay, and the name stays taken.
        Only for callers that act for themselves.
        """
        access = call.access
        access.require("delete_project")
        if access.acts_for is not None:
            raise forbidden("delete_project")
        query = call.query(DeleteProject)
        if self._is_admin(call) and call.project not in self.store.rows_of([call.project]):
            self._require_rows(call.project)
        deleted = self.deletion.delete(
            call.project, call.action, cancel_runs=query.live_runs == "cancel"
        )
        is_done = deleted.wait is None
        call.log("project deleted" if is_done else "project deleted in part")
        return json_answer(200 if is_done else 202, deletion_json(call.project, deleted))

    def _require_rows(self, project: str) -> None:
        """Raise `RequestFailed` (`not_found`) where no table has a row of the project."""
        if self.creation.new_projects.is_new(project):
            raise not_found()

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
