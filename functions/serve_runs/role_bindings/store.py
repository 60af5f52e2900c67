"""Granting and revoking roles. Every write is conditional, and running it twice is harmless.

A project's own row counts its admins, in the same transaction as the role. So the last admin cannot
be removed, even by concurrent requests.
"""

from typing import TYPE_CHECKING, Any, Literal

from byline.caching import Clock
from byline.identity.caller import Principal, read_principal
from byline.tables.rows import Item, Refused, rfc3339, write_together
from serve_runs.access.control import ADMIN_ROLE, roles_key
from serve_runs.access.projects import give_right, project_key, require_project
from serve_runs.errors import RequestFailed, contended, not_found

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 3
"""How often the last admin is withdrawn, because another may come or go at the same time."""

_ROLES = "roles#"

ROWS_A_QUERY = 100
QUERIES_A_PAGE = 5
"""A page of a listing reads 500 rows at most, also where all of them have no role."""


class RoleStore:
    """The role bindings of one table. `record`: the audit record written together with a change."""

    def __init__(self, client: "DynamoDBClient", table: str, *, now: Clock) -> None:
        self._client = client
        self._table = table
        self._now = now

    def grant(
        self, project: str, principal: Principal, role: str, *, record: "TransactWriteItemTypeDef"
    ) -> Literal["created", "unchanged"]:
        """Grant a principal a role; `unchanged` where it has the role already.

        Raises `RequestFailed` (`not_found`) where the project is deleted.
        """
        actions = {
            "role": self._grant(project, principal, role),
            "project": give_right(self._table, project, admins=int(role == ADMIN_ROLE)),
            "record": record,
        }
        refused = write_together(self._client, actions)
        require_project(refused)
        return "unchanged" if refused else "created"

    def revoke(
        self, project: str, principal: Principal, role: str, *, record: "TransactWriteItemTypeDef"
    ) -> None:
        """Revoke a role.

        Raises `RequestFailed`: `not_found` where the principal does not have it, `last_admin`.
        """
        refused = self._revoke(project, principal, role, record, self._one_less(project))
        if "role" in refused:
            raise not_found()
        if "admins" in refused:
            raise RequestFailed("last_admin")

    def withdraw(
        self, project: str, principal: Principal, role: str, *, record: "TransactWriteItemTypeDef"
    ) -> Literal["revoked", "absent", "last_admin"]:
        """Revoke a role also from the last admin, for admins of every project.

        `absent` where the principal does not have it, `last_admin` where no other admin is left.
        Raises `RequestFailed` (`store_unavailable`) where the number of admins keeps changing.
        """
        for _ in range(ATTEMPTS):
            refused = self._revoke(project, principal, role, record, self._one_less(project))
            if not refused:
                return "revoked"
            if "role" in refused:
                return "absent"
            refused = self._revoke(project, principal, role, record, self._no_admin(project))
            if not refused:
                return "last_admin"
        raise contended("project's admins")

    def _revoke(
        self,
        project: str,
        principal: Principal,
        role: str,
        record: "TransactWriteItemTypeDef",
        admins: "TransactWriteItemTypeDef",
    ) -> Refused:
        """Revoke a role with its record, for `project:admin` with `admins`."""
        actions: dict[str, TransactWriteItemTypeDef] = {
            "role": {
                "Update": {
                    "TableName": self._table,
                    "Key": roles_key(project, principal),
                    "UpdateExpression": "DELETE #roles :these SET updated_at = :now"
                    # A later grant of this role is no claim of the project.
                    + (" REMOVE claimed_at" if role == ADMIN_ROLE else ""),
                    "ConditionExpression": "contains(#roles, :role)",
                    "ExpressionAttributeNames": {"#roles": "roles"},
                    "ExpressionAttributeValues": self._values(role),
                }
            }
        }
        if role == ADMIN_ROLE:
            actions["admins"] = admins
        return write_together(self._client, actions | {"record": record})

    def end_all(
        self, project: str, principal: Principal, roles: frozenset[str]
    ) -> "TransactWriteItemTypeDef":
        """The action that ends these roles of a principal, which must be all that it has."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": roles_key(project, principal),
                "UpdateExpression": "REMOVE #roles, claimed_at SET updated_at = :now",
                "ConditionExpression": "#roles = :roles",
                "ExpressionAttributeNames": {"#roles": "roles"},
                "ExpressionAttributeValues": {
                    ":roles": {"SS": sorted(roles)},
                    ":now": {"S": rfc3339(self._now())},
                },
            }
        }

    def _no_admin(self, project: str) -> "TransactWriteItemTypeDef":
        """The action that removes the last admin from the number of admins.

        A row that an earlier version or an operator wrote may lack the number.
        """
        return {
            "Update": {
                "TableName": self._table,
                "Key": project_key(project),
                "UpdateExpression": "SET admins = :none",
                "ConditionExpression": "attribute_not_exists(admins) OR admins <= :one",
                "ExpressionAttributeValues": {":none": {"N": "0"}, ":one": {"N": "1"}},
            }
        }

    def claim(
        self, project: str, principal: Principal, *, creator: Item, deleted_at: str | None = None
    ) -> "dict[str, TransactWriteItemTypeDef]":
        """The actions, besides its first run, that make a principal the admin of a new project.

        `creator`: the columns that say who that is. `deleted_at`: when a project of this name was
        deleted, whose row is replaced; None for a name that is new.
        """
        created: Item = {"admins": {"N": "1"}, "created_at": {"S": rfc3339(self._now())}, **creator}
        put: Any = {
            "TableName": self._table,
            "Item": project_key(project) | created,
            "ConditionExpression": "attribute_not_exists(entry)",
        }
        if deleted_at is not None:
            put["ConditionExpression"] = "deleted_at = :deleted_at"
            put["ExpressionAttributeValues"] = {":deleted_at": {"S": deleted_at}}
        return {
            "project": {"Put": put},
            "role": self._grant(project, principal, ADMIN_ROLE, more=", claimed_at = :now"),
        }

    def roles_of(self, project: str, principal: Principal) -> tuple[frozenset[str], bool]:
        """A principal's stored roles in a project, and whether it is its admin by its first run."""
        key = roles_key(project, principal)
        found = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        row = found.get("Item", {})
        return frozenset(row.get("roles", {}).get("SS", ())), "claimed_at" in row

    def is_unclaimed(self, project: str) -> bool:
        """Whether this table has no row of the project, of any kind."""
        page = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#scope = :scope",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={":scope": project_key(project)["scope"]},
            ConsistentRead=True,
            Limit=1,
        )
        return not page["Items"]

    def list_bindings(
        self, project: str, *, limit: int, after: str | None
    ) -> tuple[dict[Principal, list[str]], str | None]:
        """Up to `limit` principals with their roles, and the principal to continue after.

        A page may have fewer, because principals whose last role was revoked are read too.
        """
        found: list[Item] = []
        start = after
        for _ in range(QUERIES_A_PAGE):
            query: Any = {
                "TableName": self._table,
                "KeyConditionExpression": "#scope = :scope AND begins_with(entry, :roles)",
                # The row of a principal stays when its last role is revoked.
                "FilterExpression": "attribute_exists(#roles)",
                "ExpressionAttributeNames": {"#scope": "scope", "#roles": "roles"},
                "ExpressionAttributeValues": {
                    ":scope": project_key(project)["scope"],
                    ":roles": {"S": _ROLES},
                },
                "ConsistentRead": True,
                "Limit": ROWS_A_QUERY,
            }
            if start is not None:
                # The project comes from the request, so a forged cursor cannot leave it.
                query["ExclusiveStartKey"] = project_key(project) | {
                    "entry": {"S": f"{_ROLES}{start}"}
                }
            page = self._client.query(**query)
            found += page["Items"]
            next_key = page.get("LastEvaluatedKey")
            start = None if next_key is None else next_key["entry"]["S"].removeprefix(_ROLES)
            if start is None or len(found) > limit:
                break
        shown = found[:limit]
        last = _principal_text(shown[-1]) if len(found) > limit else start
        bindings = {read_principal(_principal_text(item)): item["roles"]["SS"] for item in shown}
        return {principal: list(roles) for principal, roles in bindings.items()}, last

    def _grant(
        self, project: str, principal: Principal, role: str, *, more: str = ""
    ) -> "TransactWriteItemTypeDef":
        assignments = f"updated_at = :now, holder = :holder{more}"
        return {
            "Update": {
                "TableName": self._table,
                "Key": roles_key(project, principal),
                "UpdateExpression": f"ADD #roles :these SET {assignments}",
                "ConditionExpression": "NOT contains(#roles, :role)",
                "ExpressionAttributeNames": {"#roles": "roles"},
                "ExpressionAttributeValues": {
                    **self._values(role),
                    ":holder": {"S": principal.text},
                },
            }
        }

    def _one_less(self, project: str) -> "TransactWriteItemTypeDef":
        """The action that counts one admin less, where another one is left."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": project_key(project),
                "UpdateExpression": "ADD admins :change",
                "ConditionExpression": "admins > :one",
                "ExpressionAttributeValues": {":change": {"N": "-1"}, ":one": {"N": "1"}},
            }
        }

    def _values(self, role: str) -> Item:
        return {
            ":these": {"SS": [role]},
            ":role": {"S": role},
            ":now": {"S": rfc3339(self._now())},
        }


def _principal_text(item: Item) -> str:
    return item["entry"]["S"].removeprefix(_ROLES)
