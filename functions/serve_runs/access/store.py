"""Rows of `AccessTable` for decisions: roles, and the person that an application acts for.

Access patterns, keys and costs: docs/data-model.md.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from byline.identity.caller import Principal, read_principal
from byline.tables.rows import Item, read_rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


class ActsFor(msgspec.Struct, frozen=True):
    """The person that an application acts for, with `role` in `project` only.

    `identity`: the person as JSON of a `StoredIdentity`, at the time of registration, or as the
    caller's own token names it. Without a registration, `project` and `role` are empty.
    """

    person: Principal
    identity: str
    project: str
    role: str


class PrincipalRoles(msgspec.Struct, frozen=True):
    """A principal's roles by project, and the person that it acts for."""

    by_project: dict[str, frozenset[str]]
    acts_for: ActsFor | None


class RoleReader:
    """Reads roles from `AccessTable` consistently, so that a revoked role has no effect at once."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def read(self, principal: Principal, projects: Sequence[str]) -> PrincipalRoles:
        """A principal's roles in these projects, in one call for every hundred rows.

        Raises `RowsUnread`, because roles that could not be read must not count as absent.
        """
        keys = [roles_key(project, principal) for project in projects]
        if principal.kind == "application":
            keys.append(acts_for_key(principal))
        found = read_rows(self._client, self._table, keys, sleep=self._sleep).complete()
        items = {_key(item): item for item in found}
        roles = {
            project: frozenset(
                items.get(_key(roles_key(project, principal)), {}).get("roles", {}).get("SS", ())
            )
            for project in projects
        }
        link = items.get(_key(acts_for_key(principal)))
        return PrincipalRoles(roles, None if link is None else _acts_for(link))


def roles_key(project: str, principal: Principal) -> Item:
    """The key of a principal's roles in a project."""
    return {"scope": {"S": f"project#{project}"}, "entry": {"S": f"roles#{principal.text}"}}


def project_key(project: str) -> Item:
    """The key of a project's own row, which counts its admins."""
    return {"scope": {"S": f"project#{project}"}, "entry": {"S": "project"}}


def acts_for_key(application: Principal) -> Item:
    """The key of the person that an application acts for: one person, in one project."""
    return {"scope": {"S": f"principal#{application.text}"}, "entry": {"S": "acts-for"}}


def keep_project_row(table: str, project: str) -> "TransactWriteItemTypeDef":
    """The action that ensures a project's own row while another of its rows is deleted.

    A project without rows counts as new. The creator of its next run would become its admin, and
    could read its audit trail.
    """
    return {
        "Update": {
            "TableName": table,
            "Key": project_key(project),
            "UpdateExpression": "ADD admins :none",
            "ExpressionAttributeValues": {":none": {"N": "0"}},
        }
    }


def _acts_for(item: Item) -> ActsFor:
    return ActsFor(
        person=read_principal(item["person"]["S"]),
        identity=item["identity"]["S"],
        project=item["project"]["S"],
        role=item["role"]["S"],
    )


def _key(item: Item) -> tuple[str, str]:
    return item["scope"]["S"], item["entry"]["S"]
