"""Whose a new project is: with `ProjectCreation` = `anyone`, its first run's creator's.

The claim is written with that run or not at all. What was there before, under whatever setting, is
nobody's to claim: a project with a run, a runner, a role or anything else of its own is not new.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from byline.identity.caller import principal_of
from serve_runs.access.context import Act
from serve_runs.access.control import ADMIN_ROLE, Access, Holder
from serve_runs.audit.records import AuditTrail
from serve_runs.role_bindings.store import RoleStore, binding_resource

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


class ProjectClaims:
    """Finds the projects that there are not yet, in all tables."""

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
        self._tables = (runs_table, runners_table)

    def claimed(self, access: Access, act: Act) -> "tuple[Access, list[TransactWriteItemTypeDef]]":
        """What the creator of a run may do, and what makes it so: nothing, or the project's claim
        with the record that they were granted it.

        Not for nobody, whom no right would reach again, and not for a service account that acts for
        a person: it has the rights that it was given.
        """
        if act.caller is None or access.acts_for is not None or access.may("create_run"):
            return access, []
        if not self._is_new(access.project):
            return access, []
        principal = principal_of(act.caller)
        resource = binding_resource(access.project, principal, ADMIN_ROLE)
        record = self._audit.record(act, "grant_role", resource)
        holder = Holder(principal, frozenset({ADMIN_ROLE}))
        claim = self._roles.claim(access.project, principal)
        return replace(access, holders=(holder,)), [*claim, record]

    def _is_new(self, project: str) -> bool:
        return self._roles.is_unclaimed(project) and not any(
            self._has_rows(table, partition)
            for table in self._tables
            for partition in (project, f"deleted#{project}")
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
