"""The admin of a new project: with `ProjectCreation` = `anyone`, the creator of its first run.

The claim is written together with that run, or not at all. A project that has a row of any kind, in
any table, is not new, whatever the setting was when the row was written.
"""

from copy import replace
from typing import TYPE_CHECKING

from byline.identity.caller import principal_of
from byline.tables.rows import Item
from serve_runs.access.control import ADMIN_ROLE, Access, RoleAssignment
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.role_bindings.store import RoleStore
from serve_runs.role_bindings.views import binding_resource

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


class NewProjects:
    """Finds projects that do not exist yet, in all tables."""

    def __init__(
        self,
        client: "DynamoDBClient",
        roles: RoleStore,
        *,
        audit: AuditTrail,
        runs_table: str,
        runners_table: str,
    ) -> None:
        self._client = client
        self._roles = roles
        self._audit = audit
        self._partitions = ((runs_table, "deleted#"), (runners_table, "retired#"))

    def claim(
        self, access: Access, action: ActionContext
    ) -> "tuple[Access, dict[str, TransactWriteItemTypeDef]]":
        """The access of a run's creator, and the actions that make it admin of a new project.

        No actions where the project exists, or the creator is anonymous, because all anonymous
        callers would share the role. None for a service account that acts for a person: its
        registration has its role.
        """
        if action.caller is None or access.acts_for is not None or access.may("create_run"):
            return access, {}
        if not self.is_new(access.project):
            return access, {}
        principal = principal_of(action.caller)
        resource = binding_resource(access.project, principal, ADMIN_ROLE)
        # Imported here, because most creates are in existing projects.
        from serve_runs.audit.rights import given_rights  # noqa: PLC0415

        rights = given_rights(principal, [ADMIN_ROLE])
        record = self._audit.record(action, "grant_role", resource, details=rights)
        assignment = RoleAssignment(principal, frozenset({ADMIN_ROLE}))
        claim = self._roles.claim(access.project, principal, creator=creator_of(action))
        return replace(access, assignments=(assignment,)), claim | {"role record": record}

    def is_new(self, project: str) -> bool:
        """Whether no table has a row of the project."""
        return self._roles.is_unclaimed(project) and not any(
            self._has_rows(table, partition)
            for table, gone in self._partitions
            for partition in (project, f"{gone}{project}")
        )

    def _has_rows(self, table: str, partition: str) -> bool:
        page = self._client.query(
            TableName=table,
            KeyConditionExpression="#project = :project",
            ExpressionAttributeNames={"#project": "project"},
            ExpressionAttributeValues={":project": {"S": partition}},
            ConsistentRead=True,
            Limit=1,
        )
        return bool(page["Items"])


def creator_of(action: ActionContext) -> Item:
    """The columns of a project's row that say who created it."""
    texts = {"created_by": action.identity, "created_by_issuer": action.issuer}
    return {name: {"S": text} for name, text in texts.items() if text is not None}
