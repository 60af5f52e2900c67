"""The rows of `RunsTable` that the authorization service does not know yet.

What is true of a run stands in its row alone. Events and the index only say where to look.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from byline.registration.authorization_service import PASSING, ErrorClass, Json, principal, resource
from byline.registration.outbox import DELETED, UNREGISTERED_INDEX
from byline.tables.items import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef, UpdateTypeDef


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """A run, wherever its row is by now: among its project's, or among the deleted ones."""

    project: str
    run: str

    @classmethod
    def of(cls, keys: Item) -> "RunKey":
        """The run whose row or tombstone has these keys."""
        return cls(keys["project"]["S"].removeprefix(DELETED), keys["id"]["S"])


@dataclass(frozen=True, slots=True)
class UnregisteredRow:
    """A row with its mark: of a run that is to be registered or, deleted, to be deregistered."""

    key: RunKey
    is_deleted: bool
    owner: Json
    parent: Json | None

    @property
    def task(self) -> Json:
        """The run, as the service is told of it."""
        return resource("task", self.key.run)

    @property
    def keys(self) -> Item:
        """Of the row itself."""
        project = DELETED + self.key.project if self.is_deleted else self.key.project
        return {"project": {"S": project}, "id": {"S": self.key.run}}


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the index tells of such a row: `since` when, RFC 3339, and what last went wrong."""

    key: RunKey
    since: str
    error: str

    @property
    def is_refused(self) -> bool:
        """Whether the service's last word was final."""
        return bool(self.error) and self.error not in PASSING


class UnregisteredRows:
    """The rows of one table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def read(self, key: RunKey) -> UnregisteredRow | None:
        """The run's row as it is now, None where there is nothing to tell the service.

        A deletion moves the row in one transaction, so who does not find it in its project finds
        it among the deleted ones.
        """
        for project in (key.project, DELETED + key.project):
            answer = self._client.get_item(
                TableName=self._table,
                Key={"project": {"S": project}, "id": {"S": key.run}},
                ConsistentRead=True,
            )
            if "Item" in answer:
                return _read(key, answer["Item"], is_deleted=project != key.project)
        return None

    def waiting(self, shard: str) -> Iterator[Waiting]:
        """What the index has of one shard, oldest first. It may be a moment behind the rows."""
        query: QueryInputTypeDef = {
            "TableName": self._table,
            "IndexName": UNREGISTERED_INDEX,
            "KeyConditionExpression": "unregistered = :shard",
            "ExpressionAttributeValues": {":shard": {"S": shard}},
        }
        while True:
            page = self._client.query(**query)
            for item in page["Items"]:
                error = item.get("registration_error", {}).get("S", "")
                yield Waiting(RunKey.of(item), item["unregistered_since"]["S"], error)
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def mark_registered(self, row: UnregisteredRow, *, at: str) -> bool:
        """Take the mark off. False where it is off already, or the row is there no more."""
        return self._update(taking_off(self._table, row, at=at))

    def mark_failed(self, row: UnregisteredRow, error: ErrorClass) -> bool:
        """Note what went wrong. False where there is no such row with a mark any more."""
        return self._update(
            {
                "TableName": self._table,
                "Key": row.keys,
                "UpdateExpression": "SET registration_error = :error",
                "ConditionExpression": "attribute_exists(unregistered)",
                "ExpressionAttributeValues": {":error": {"S": error}},
            }
        )

    def _update(self, update: "UpdateTypeDef") -> bool:
        try:
            self._client.update_item(**cast(Any, update))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def taking_off(table: str, row: UnregisteredRow, *, at: str) -> "UpdateTypeDef":
    """The update that takes a row's mark off: the service knows since `at`, RFC 3339."""
    column = "deregistered_at" if row.is_deleted else "registered_at"
    return {
        "TableName": table,
        "Key": row.keys,
        "UpdateExpression": (
            f"SET {column} = :at REMOVE unregistered, unregistered_since, registration_error"
        ),
        "ConditionExpression": "attribute_exists(unregistered)",
        "ExpressionAttributeValues": {":at": {"S": at}},
    }


def _read(key: RunKey, item: Item, *, is_deleted: bool) -> UnregisteredRow | None:
    if "unregistered" not in item:
        return None
    agent = item.get("agent")
    return UnregisteredRow(
        key, is_deleted, _owner(item), None if agent is None else resource("agent", agent["S"])
    )


def _owner(item: Item) -> Json:
    """Who created the run; nobody, where callers without credentials may."""
    issuer = item.get("creator_issuer", {}).get("S", "")
    if user := item.get("creator_user_id"):
        return principal("user", subject=user["S"], issuer=issuer)
    if service_account := item.get("creator_service_account_id"):
        return principal("application", subject=service_account["S"], issuer=issuer)
    return {"type": "anonymous"}
