"""Reading and writing service accounts. Every write is conditional, and repeating it is harmless.

Each has two rows with the same content, written and deleted together. The row by application limits
it to one person in one project; the row by project is for listings.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from byline.caching import Clock
from byline.identity.caller import read_principal
from byline.tables.rows import Item, rfc3339, write_together
from serve_runs.access.control import acts_for_key
from serve_runs.access.projects import keep_project_row, project_key
from serve_runs.errors import RequestFailed, contended
from serve_runs.service_accounts.views import ENTRY, ServiceAccountRegistration, listed_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from serve_runs.service_accounts.grants import TransactActions

ATTEMPTS = 3
"""How often a service account is read, because it may change before the write."""

_UNCHANGED = "last_request = :seen"


class ServiceAccountStore:
    """The service accounts of one table. `record`: the record written together with a change."""

    def __init__(self, client: "DynamoDBClient", table: str, *, now: Clock) -> None:
        self._client = client
        self._table = table
        self._now = now

    def register(
        self,
        wanted: ServiceAccountRegistration,
        *,
        grant: "Callable[[], TransactActions] | None",
        record: "TransactWriteItemTypeDef",
    ) -> tuple[Item, Literal["created", "changed", "unchanged"]]:
        """Let a service account act for a person, or change its role or name.

        `grant` is called before the write of one without a grant, and may raise; its actions are
        carried out with the write. It is None where no grant is needed. Raises `RequestFailed`:
        `already_registered` where it acts for another person or in another project,
        `store_unavailable` where other requests change it at the same time.
        """
        for _ in range(ATTEMPTS):
            before = self._read(acts_for_key(wanted.application))
            now = rfc3339(self._now())
            if before is None:
                row = wanted.item(created_at=now, updated_at=now)
                condition, values = "attribute_not_exists(entry)", {}
            else:
                row = wanted.item(created_at=before["created_at"]["S"], updated_at=now)
                condition, values = _UNCHANGED, {":seen": before["last_request"]}
                if (before["person"], before["project"]) != (row["person"], row["project"]):
                    raise RequestFailed("already_registered")
            granted_at = (before or {}).get("granted_at")
            needs_grant = grant is not None and granted_at is None
            is_changed = before is None or _content(before) != _content(row)
            if not is_changed and not needs_grant:
                return row if before is None else before, "unchanged"
            more: TransactActions = grant() if grant is not None and needs_grant else {}
            if more or granted_at is not None:
                row["granted_at"] = granted_at or {"S": now}
            if self._put(row, wanted, condition, values, {"record": record, **more}):
                if before is None:
                    return row, "created"
                return row, "changed" if is_changed else "unchanged"
        raise contended("service account")

    def find(self, project: str, account_id: str) -> Item | None:
        """A project's service account, None where it does not exist."""
        return self._read(listed_key(project, account_id))

    def delete(
        self, row: Item, *, record: "TransactWriteItemTypeDef", revocation: "TransactActions"
    ) -> bool:
        """Delete both rows; False, with none deleted, where they changed since `row` was read."""
        application = read_principal(row["principal"]["S"])
        project = row["project"]["S"]

        def delete(key: Item) -> "TransactWriteItemTypeDef":
            return {
                "Delete": {
                    "TableName": self._table,
                    "Key": key,
                    "ConditionExpression": _UNCHANGED,
                    "ExpressionAttributeValues": {":seen": row["last_request"]},
                }
            }

        return not write_together(
            self._client,
            {
                "by application": delete(acts_for_key(application)),
                "by project": delete(listed_key(project, row["id"]["S"])),
                "project": keep_project_row(self._table, project),
                "record": record,
                **revocation,
            },
        )

    def list_of(
        self, project: str, *, limit: int, after: str | None
    ) -> tuple[list[Item], str | None]:
        """Up to `limit` service accounts of a project, by id, and the last id if more follow."""
        query: Any = {
            "TableName": self._table,
            "KeyConditionExpression": "#scope = :scope AND begins_with(entry, :entry)",
            "ExpressionAttributeNames": {"#scope": "scope"},
            "ExpressionAttributeValues": {
                ":scope": project_key(project)["scope"],
                ":entry": {"S": ENTRY},
            },
            "ConsistentRead": True,
            "Limit": limit + 1,
        }
        if after is not None:
            # The project comes from the request, so a forged cursor cannot leave it.
            query["ExclusiveStartKey"] = listed_key(project, after)
        found = self._client.query(**query)["Items"]
        last = found[limit - 1]["id"]["S"] if len(found) > limit else None
        return found[:limit], last

    def _put(
        self,
        row: Item,
        wanted: ServiceAccountRegistration,
        condition: str,
        values: Item,
        more: "TransactActions",
    ) -> bool:
        """Write both rows and carry out `more`; False, with none written, where that fails."""

        def put(key: Item) -> "TransactWriteItemTypeDef":
            request: Any = {
                "TableName": self._table,
                "Item": row | key,
                "ConditionExpression": condition,
            }
            return {"Put": request | ({"ExpressionAttributeValues": values} if values else {})}

        return not write_together(
            self._client,
            {
                "by application": put(acts_for_key(wanted.application)),
                "by project": put(listed_key(wanted.project, row["id"]["S"])),
                **more,
            },
        )

    def _read(self, key: Item) -> Item | None:
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")


def _content(row: Item) -> tuple[Any, Any]:
    return row["role"], row["name"]
