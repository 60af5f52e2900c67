"""Creating a project: its own row, its creator's role, and their records, in one transaction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from byline.identity.caller import principal_of
from byline.tables.rows import Item, text_of, write_together
from serve_runs.access.control import ADMIN_ROLE
from serve_runs.audit.rights import given_rights
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.errors import RequestFailed, contended
from serve_runs.projects.contents import Contents
from serve_runs.projects.store import ProjectStore
from serve_runs.role_bindings.new_projects import NewProjects, creator_of
from serve_runs.role_bindings.store import RoleStore
from serve_runs.role_bindings.views import binding_resource

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ATTEMPTS = 3
"""How often a project is read, because another request may create it before the write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """Creates projects, as the first run of a new project does."""

    client: "DynamoDBClient"
    store: ProjectStore
    roles: RoleStore
    new_projects: NewProjects
    contents: Contents
    audit: AuditTrail

    def create(
        self, name: str, *, action: ActionContext, may_replace: bool
    ) -> Literal["created", "unchanged"]:
        """Create a project; `unchanged` where the caller created it and is its admin.

        `may_replace`: whether the caller may take the name of a deleted project. Raises
        `RequestFailed` (`project_exists`, `store_unavailable`).
        """
        principal = principal_of(action.caller)
        binding = binding_resource(name, principal, ADMIN_ROLE)
        rights = given_rights(principal, [ADMIN_ROLE])
        records = {
            "record": self.audit.record(
                action, "create_project", AuditedResource(name, "project", name)
            ),
            "role record": self.audit.record(action, "grant_role", binding, details=rights),
        }
        for _ in range(ATTEMPTS):
            row = self.store.rows_of([name]).get(name, {})
            deleted_at = text_of(row, "deleted_at")
            roles, is_claimed = self.roles.roles_of(name, principal)
            if deleted_at is None and ADMIN_ROLE in roles and is_claimed:
                return "unchanged"
            if deleted_at is not None and may_replace:
                self._require_nothing_left(name, row)
            elif row or not self.new_projects.is_new(name):
                raise RequestFailed("project_exists")
            claim = self.roles.claim(
                name, principal, creator=creator_of(action), deleted_at=deleted_at
            )
            if not write_together(self.client, claim | records):
                return "created"
        raise contended("project")

    def _require_nothing_left(self, name: str, row: Item) -> None:
        """Raise `RequestFailed` (`project_exists`) where a deleted project has something still.

        Whoever had it would have it in the new project.
        """
        left = [kind.replace("_", " ") for kind in self.contents.kinds_left(name)]
        if not left and "rights_ended_at" in row:
            left = ["requests under way"]
        if left:
            raise RequestFailed(
                "project_exists",
                f"The deleted project of this name has {', '.join(left)} still. Send "
                f"`DELETE /v1/projects/{name}` until it is complete, then create the project.",
            )
