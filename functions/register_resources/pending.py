"""Reads the rows of `RunsTable` with a pending registration, and clears their outbox entries.

The run's own row is the only source of truth. Stream events and the index only name the runs.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from byline.registration.answers import PASSING, ErrorClass
from byline.registration.authorization_service import Json, principal, resource
from byline.registration.outbox import DELETED, PENDING_INDEX
from byline.tables.rows import ConditionFailed, Item, text_of, write_row

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef, UpdateTypeDef


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """Identifies a run, whether it exists in its project or is deleted."""

    project: str
    run: str

    @classmethod
    def of(cls, keys: Item) -> "RunKey":
        """The run whose row or tombstone has these keys."""
        return cls(keys["project"]["S"].removeprefix(DELETED), keys["id"]["S"])


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A row with an outbox entry: a run to be registered, or a deleted run to be deregistered."""

    key: RunKey
    is_deleted: bool
    owner: Json
    parent: Json | None

    @property
    def task(self) -> Json:
        """The run in the service's own format."""
        return resource("task", self.key.run)

    @property
    def keys(self) -> Item:
        """The keys of the row: of the run's own row, or of its tombstone."""
        project = DELETED + self.key.project if self.is_deleted else self.key.project
        return {"project": {"S": project}, "id": {"S": self.key.run}}


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A pending row as the index lists it: pending `since`, RFC 3339, and its latest error."""

    key: RunKey
    since: str
    error: str

    @property
    def is_refused(self) -> bool:
        """Whether the service refused the latest delivery, so that a retry would not help."""
        return bool(self.error) and self.error not in PASSING


class PendingRegistrations:
    """The pending rows of one table."""

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

    def read(self, key: RunKey) -> PendingRow | None:
        """The run's row as it is now; None if the run has no pending registration.

        A deletion moves the row in one transaction. So a run that is absent from its project, and
        then absent from the tombstones, does not exist.
        """
        for project in (key.project, DELETED + key.project):
            answer = self._client.get_item(
                TableName=self._table,
                Key={"project": {"S": project}, "id": {"S": key.run}},
                ConsistentRead=True,
            )
            if "Item" in answer:
                return _pending_row(key, answer["Item"], is_deleted=project != key.project)
        return None

    def list_shard(self, shard: str) -> Iterator[IndexEntry]:
        """The entries of one shard of the index, oldest first.

        The index is eventually consistent with the rows.
        """
        query: QueryInputTypeDef = {
            "TableName": self._table,
            "IndexName": PENDING_INDEX,
            "KeyConditionExpression": "unregistered = :shard",
            "ExpressionAttributeValues": {":shard": {"S": shard}},
        }
        while True:
            page = self._client.query(**query)
            for item in page["Items"]:
                error = text_of(item, "registration_error") or ""
                yield IndexEntry(RunKey.of(item), item["unregistered_since"]["S"], error)
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def clear(self, row: PendingRow, *, at: str) -> bool:
        """Clear the outbox entry of `row`, which the service has known since `at`, RFC 3339.

        False if the row has no outbox entry any more, or is gone.
        """
        return self._update(clearing(self._table, row, at=at))

    def note_error(self, row: PendingRow, error: ErrorClass) -> bool:
        """Write the class of the latest error into `row`.

        False if the row has no outbox entry any more, or is gone.
        """
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
            write_row(
                self._client,
                lambda: self._client.update_item(**cast(Any, update)),
                sleep=self._sleep,
            )
        except ConditionFailed:
            return False
        return True


def clearing(table: str, row: PendingRow, *, at: str) -> "UpdateTypeDef":
    """The update that clears the outbox entry of `row`, registered or deregistered `at`."""
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


def _pending_row(key: RunKey, item: Item, *, is_deleted: bool) -> PendingRow | None:
    if "unregistered" not in item:
        return None
    agent = text_of(item, "agent")
    parent = None if agent is None else resource("agent", agent)
    return PendingRow(key, is_deleted, _owner(item), parent)


def _owner(item: Item) -> Json:
    """The creator of a run. With AnonymousCallers=allow a run may have none."""
    issuer = text_of(item, "creator_issuer") or ""
    if user := text_of(item, "creator_user_id"):
        return principal("user", subject=user, issuer=issuer)
    if service_account := text_of(item, "creator_service_account_id"):
        return principal("application", subject=service_account, issuer=issuer)
    return {"type": "anonymous"}
