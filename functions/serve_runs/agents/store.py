"""Reading and writing agents' permissions. Every write is conditional; repeating it is harmless.

Each has two rows with the same content, written and deleted together: by name for the routes, and
by the agent for every request with its token.
"""

from typing import TYPE_CHECKING, Any, Literal

from byline.caching import Clock
from byline.identity.caller import read_principal
from byline.tables.paging import Page
from byline.tables.rows import (
    EXPIRES_AT,
    Item,
    is_expired,
    read_rows,
    rfc3339,
    write_together,
)
from serve_runs.access.control import agent_key
from serve_runs.access.entries import list_entries
from serve_runs.access.projects import (
    give_right,
    keep_project_row,
    project_key,
    require_project,
)
from serve_runs.agents.views import ENTRY, AgentPermission, listed_key
from serve_runs.errors import RequestFailed, contended

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 3
"""How often a permission is read, because it may change before the write."""


class AgentStore:
    """The permissions of one table. `record`: the record written together with a change."""

    def __init__(self, client: "DynamoDBClient", table: str, *, now: Clock) -> None:
        self._client = client
        self._table = table
        self._now = now

    def allow(
        self, wanted: AgentPermission, *, record: "TransactWriteItemTypeDef"
    ) -> tuple[Item, Literal["created", "changed", "unchanged"]]:
        """Allow an agent, or change its roles or end.

        Raises `RequestFailed`: `already_registered` where the name is another agent's, or the agent
        has another name; `not_found` where the project is deleted; `store_unavailable` where other
        requests change it at the same time.
        """
        keys = {
            "by name": listed_key(wanted.project, wanted.name),
            "by agent": agent_key(wanted.agent, wanted.project),
        }
        for _ in range(ATTEMPTS):
            rows = self._read(keys)
            before = self._live(rows, wanted)
            at = rfc3339(self._now())
            created_at = at if before is None else before["created_at"]["S"]
            row = wanted.item(created_at=created_at, updated_at=at)
            if before is not None and _content(before) == _content(row):
                return before, "unchanged"
            actions = {way: self._put(row | key, before=rows.get(way)) for way, key in keys.items()}
            actions["project"] = give_right(self._table, wanted.project)
            refused = write_together(self._client, actions | {"record": record})
            require_project(refused)
            if not refused:
                return row, "created" if before is None else "changed"
        raise contended("agent")

    def find(self, project: str, name: str) -> Item | None:
        """An agent's permission, None where it does not exist or has ended."""
        key = listed_key(project, name)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        row = answer.get("Item")
        return None if row is None or is_expired(row, now=self._now()) else row

    def delete(self, row: Item, *, record: "TransactWriteItemTypeDef") -> bool:
        """Delete both rows; False, with none deleted, where they changed since `row` was read."""
        project = row["project"]["S"]
        keys = {
            "by name": listed_key(project, row["name"]["S"]),
            "by agent": agent_key(read_principal(row["principal"]["S"]), project),
        }
        deletions: dict[str, Any] = {
            way: {"Delete": {"TableName": self._table, "Key": key, **_unchanged(row)}}
            for way, key in keys.items()
        }
        kept = keep_project_row(self._table, project)
        return not write_together(self._client, {**deletions, "project": kept, "record": record})

    def list_of(self, project: str, *, limit: int, after: str | None) -> Page:
        """Up to `limit` agents of a project, by name, and the last name if more follow."""
        return list_entries(
            self._client,
            self._table,
            scope=project_key(project)["scope"]["S"],
            prefix=ENTRY,
            limit=limit,
            after=after,
            now=self._now(),
        )

    def _read(self, keys: dict[str, Item]) -> dict[str, Item]:
        """The rows under these keys, by the same names, also those that have ended."""
        rows = read_rows(self._client, self._table, keys.values()).complete()
        by_key = {(row["scope"]["S"], row["entry"]["S"]): row for row in rows}
        found = {way: (key["scope"]["S"], key["entry"]["S"]) for way, key in keys.items()}
        return {way: by_key[key] for way, key in found.items() if key in by_key}

    def _live(self, rows: dict[str, Item], wanted: AgentPermission) -> Item | None:
        """The permission that `wanted` changes; None where it is new."""
        now = self._now()
        live = {way: row for way, row in rows.items() if not is_expired(row, now=now)}
        for row in live.values():
            name, principal = row["name"]["S"], row["principal"]["S"]
            if name != wanted.name:
                detail = f"This agent is allowed in this project already, as `{name}`."
                raise RequestFailed("already_registered", detail)
            if principal != wanted.agent.text:
                detail = f"`{name}` is another agent in this project. Delete it first."
                raise RequestFailed("already_registered", detail)
        return live.get("by name")

    def _put(self, item: Item, *, before: Item | None) -> "TransactWriteItemTypeDef":
        condition: Any = {"ConditionExpression": "attribute_not_exists(entry)"}
        if before is not None:
            condition = _unchanged(before)
        put: Any = {"TableName": self._table, "Item": item} | condition
        return {"Put": put}


def _unchanged(row: Item) -> Any:
    return {
        "ConditionExpression": "last_request = :seen",
        "ExpressionAttributeValues": {":seen": row["last_request"]},
    }


def _content(row: Item) -> tuple[Any, ...]:
    return sorted(row["roles"]["SS"]), row.get(EXPIRES_AT)
