"""Granting and revoking roles. Every write is conditional, and harmless when it runs twice.

A project has as many admins as its own row counts, in the same transaction as the role itself: so
the last one cannot go, whoever else is going at the same moment.
"""

from typing import TYPE_CHECKING, Any, Literal

from byline.caching import Clock
from byline.identity.caller import Principal, read_principal
from byline.tables.items import Item, rfc3339
from serve_runs.access.control import ADMIN_ROLE
from serve_runs.access.rows import project_key, roles_key
from serve_runs.audit.records import Resource
from serve_runs.transactions import write_together
from serve_runs.web.problems import Problem, not_found

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_ROLES = "roles#"


class RoleStore:
    """The role bindings of one table. `record`: what is written together with a change."""

    def __init__(self, client: "DynamoDBClient", table: str, *, now: Clock) -> None:
        self._client = client
        self._table = table
        self._now = now

    def grant(
        self, project: str, principal: Principal, role: str, *, record: "TransactWriteItemTypeDef"
    ) -> Literal["created", "unchanged"]:
        """Give a role to somebody who may have it already."""
        actions = [self._granted(project, principal, role)]
        if role == ADMIN_ROLE:
            actions.append(self._count(project, 1))
        in_the_way = write_together(self._client, [*actions, record])
        return "created" if in_the_way is None else "unchanged"

    def revoke(
        self, project: str, principal: Principal, role: str, *, record: "TransactWriteItemTypeDef"
    ) -> None:
        """Take a role away. Raises `Problem`: 404, and 409 where it is the last admin's."""
        actions: list[TransactWriteItemTypeDef] = [
            {
                "Update": {
                    "TableName": self._table,
                    "Key": roles_key(project, principal),
                    "UpdateExpression": "DELETE #roles :these SET updated_at = :now",
                    "ConditionExpression": "contains(#roles, :role)",
                    "ExpressionAttributeNames": {"#roles": "roles"},
                    "ExpressionAttributeValues": self._values(role),
                }
            }
        ]
        if role == ADMIN_ROLE:
            actions.append(self._count(project, -1))
        try:
            in_the_way = write_together(self._client, [*actions, record])
        except self._client.exceptions.TransactionCanceledException as error:
            if error.response["CancellationReasons"][1].get("Code") == "ConditionalCheckFailed":
                raise _last_admin() from None
            raise
        if in_the_way is not None:
            raise not_found()

    def claim(self, project: str, principal: Principal) -> "list[TransactWriteItemTypeDef]":
        """What makes somebody the admin of a project that there was not, with its first run."""
        return [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": project_key(project) | {"admins": {"N": "1"}},
                    "ConditionExpression": "attribute_not_exists(entry)",
                }
            },
            self._granted(project, principal, ADMIN_ROLE),
        ]

    def is_unclaimed(self, project: str) -> bool:
        """Whether nobody has a role in the project, and nothing of it is in this table."""
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
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Up to `limit` principals with their roles, and where to go on if there are more."""
        found: list[Item] = []
        start = after
        while len(found) <= limit:
            query: Any = {
                "TableName": self._table,
                "KeyConditionExpression": "#scope = :scope AND begins_with(entry, :roles)",
                # Of somebody whose last role was taken the row stays, without any.
                "FilterExpression": "attribute_exists(#roles)",
                "ExpressionAttributeNames": {"#scope": "scope", "#roles": "roles"},
                "ExpressionAttributeValues": {
                    ":scope": project_key(project)["scope"],
                    ":roles": {"S": _ROLES},
                },
                "ConsistentRead": True,
                "Limit": limit + 1,
            }
            if start is not None:
                # The project is the request's: whatever a forged cursor says, it stays in it.
                query["ExclusiveStartKey"] = project_key(project) | {
                    "entry": {"S": f"{_ROLES}{start}"}
                }
            page = self._client.query(**query)
            found += page["Items"]
            if "LastEvaluatedKey" not in page:
                break
            start = page["LastEvaluatedKey"]["entry"]["S"].removeprefix(_ROLES)
        shown = found[:limit]
        last = _principal_text(shown[-1]) if len(found) > limit else None
        return [_binding_json(item) for item in shown], last

    def _granted(self, project: str, principal: Principal, role: str) -> "TransactWriteItemTypeDef":
        return {
            "Update": {
                "TableName": self._table,
                "Key": roles_key(project, principal),
                "UpdateExpression": "ADD #roles :these SET updated_at = :now",
                "ConditionExpression": "NOT contains(#roles, :role)",
                "ExpressionAttributeNames": {"#roles": "roles"},
                "ExpressionAttributeValues": self._values(role),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _count(self, project: str, change: Literal[1, -1]) -> "TransactWriteItemTypeDef":
        values: Item = {":change": {"N": str(change)}}
        update: Any = {
            "TableName": self._table,
            "Key": project_key(project),
            "UpdateExpression": "ADD admins :change",
            "ExpressionAttributeValues": values,
        }
        if change < 0:
            update["ConditionExpression"] = "admins > :one"
            values[":one"] = {"N": "1"}
        return {"Update": update}

    def _values(self, role: str) -> Item:
        return {
            ":these": {"SS": [role]},
            ":role": {"S": role},
            ":now": {"S": rfc3339(self._now())},
        }


def binding_resource(project: str, principal: Principal, role: str) -> Resource:
    """A binding as the audit trail names it."""
    return Resource(project, "role_binding", f"{role} {principal.text}")


def binding_json(principal: Principal, roles: list[str]) -> dict[str, Any]:
    """Somebody's roles as the API shows them."""
    return {
        "kind": principal.kind,
        "issuer": principal.issuer or None,
        "subject": principal.subject or None,
        "roles": sorted(roles),
    }


def _binding_json(item: Item) -> dict[str, Any]:
    return binding_json(read_principal(_principal_text(item)), list(item["roles"]["SS"]))


def _principal_text(item: Item) -> str:
    return item["entry"]["S"].removeprefix(_ROLES)


def _last_admin() -> Problem:
    return Problem(409, "last_admin", "A project keeps at least one admin: make another one first.")
