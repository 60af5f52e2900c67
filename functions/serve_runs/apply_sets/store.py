"""Reading and writing apply sets. Every write is conditional; repeating it is harmless."""

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from byline.caching import Clock
from byline.tables.rows import Item, rfc3339, write_together
from serve_runs.access.projects import keep_project_row
from serve_runs.apply_sets.requests import MAX_BYTES, MAX_MEMBERS, ChangeMembers
from serve_runs.apply_sets.views import SetMembers, apply_set_item, apply_set_key, members_of
from serve_runs.errors import RequestFailed, contended

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 5
"""How often a set is read for a change, because it may change before the write."""


class ApplySetStore:
    """The apply sets of one table. `record`: the record written together with a change."""

    def __init__(self, client: "DynamoDBClient", table: str, *, now: Clock) -> None:
        self._client = client
        self._table = table
        self._now = now

    def find(self, project: str, name: str) -> Item | None:
        """A set's row; None for a set without members, which has no row."""
        key = apply_set_key(project, name)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")

    def change(
        self,
        project: str,
        name: str,
        change: ChangeMembers,
        *,
        request_id: str,
        record: "TransactWriteItemTypeDef",
    ) -> tuple[Item, Literal["changed", "unchanged"]]:
        """Add and remove members. Without any members the row is deleted.

        Raises `RequestFailed`: `invalid_body` for too many members, `store_unavailable` where other
        requests change the set at the same time.
        """
        for _ in range(ATTEMPTS):
            before = self.find(project, name)
            members = _changed(members_of(before), change)
            _require_short(members)
            at = rfc3339(self._now())
            row = apply_set_item(
                project,
                name,
                members,
                created_at=at if before is None else before["created_at"]["S"],
                updated_at=at,
                request_id=request_id,
            )
            if members == members_of(before):
                return before or row, "unchanged"
            actions = self._replace(before, row if members else None, project, name)
            if not write_together(self._client, actions | {"record": record}):
                return row, "changed"
        raise contended("apply set")

    def delete(self, project: str, row: Item, *, record: "TransactWriteItemTypeDef") -> bool:
        """Delete a set; False, with nothing deleted, where it changed since `row` was read."""
        actions = self._replace(row, None, project, row["name"]["S"])
        return not write_together(self._client, actions | {"record": record})

    def _replace(
        self, before: Item | None, after: Item | None, project: str, name: str
    ) -> "dict[str, TransactWriteItemTypeDef]":
        condition: Any = {"ConditionExpression": "attribute_not_exists(entry)"}
        if before is not None:
            condition = {
                "ConditionExpression": "last_request = :seen",
                "ExpressionAttributeValues": {":seen": before["last_request"]},
            }
        if after is not None:
            put: Any = {"TableName": self._table, "Item": after, **condition}
            return {"set": {"Put": put}}
        key = apply_set_key(project, name)
        deletion: Any = {"TableName": self._table, "Key": key, **condition}
        return {
            "set": {"Delete": deletion},
            "project": keep_project_row(self._table, project),
        }


def _changed(members: SetMembers, change: ChangeMembers) -> SetMembers:
    found = {(each.kind, each.key): each for each in (*members, *change.add)}
    for each in change.remove:
        found.pop((each.kind, each.key), None)
    return frozenset(found.values())


def _require_short(members: SetMembers) -> None:
    if len(members) > MAX_MEMBERS or len(msgspec.json.encode(sorted(members))) > MAX_BYTES:
        raise RequestFailed(
            "invalid_body",
            f"An apply set has at most {MAX_MEMBERS} members, in {MAX_BYTES} bytes. Use several.",
        )
