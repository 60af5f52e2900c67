"""Reading the runners that are due, and committing what became of them.

A commit counts only for the generation and the registration that it was decided on: a stale worker,
a second one, or a refresh that a deletion overtook change nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from byline.refresh.runner_rows import (
    DUE_INDEX,
    RunnerRow,
    UnreadableRow,
    read_runner,
    runner_item,
    runner_key,
)
from byline.refresh.work_units import MintKey, Unit
from byline.tables.items import Item
from refresh_tokens.plan import is_meant

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, QueryInputTypeDef

COMMITS_A_CALL = 25
"""A transaction takes 100, but all of them fall with one that does not hold any more."""

KEYS_A_CALL = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""

READ_ATTEMPTS = 5
"""For keys that a throttled table left out. What stays out is due at the next tick."""


type Change = tuple[RunnerRow, RunnerRow]
"""A row as it was read, and what is to stand in its place."""


class RunnerTable:
    """`RunnersTable`, as the refresher uses it."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def due(self, unit: Unit, *, up_to: int | None, now: int) -> list[RunnerRow]:
        """The unit's rows that are due, as they are now: the index alone may be behind.

        Of runners that have a token, only those with a deadline `up_to` this one, or all.
        """
        values: Item = {
            ":shard": {"S": unit.shard},
            ":now": {"N": str(now)},
            ":project": {"S": unit.project},
            ":deleted": {"S": f"deleted#{unit.project}"},
        }
        wanted = "#project IN (:project, :deleted)"
        if up_to is not None:
            # Only spares reads: what is meant is decided below, by the rows as they are.
            wanted += (
                " AND (deadline <= :up_to OR attribute_not_exists(expires_at)"
                " OR attribute_exists(deleted_at))"
            )
            values[":up_to"] = {"N": str(up_to)}
        query: QueryInputTypeDef = {
            "TableName": self._table,
            "IndexName": DUE_INDEX,
            "KeyConditionExpression": "#shard = :shard AND due_at <= :now",
            "FilterExpression": wanted,
            "ProjectionExpression": "#project, runner",
            "ExpressionAttributeNames": {"#project": "project", "#shard": "shard"},
            "ExpressionAttributeValues": values,
        }
        keys: list[Item] = []
        while True:
            page = self._client.query(**query)
            keys += page["Items"]
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return [
            row
            for row in self._read(keys)
            if row.shard == unit.shard
            and row.due_at is not None
            and row.due_at <= now
            and is_meant(row, up_to=up_to)
        ]

    def is_shared(self, key: MintKey) -> bool:
        """Whether a registered runner may hold a token of this mint key."""
        query: QueryInputTypeDef = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "#project = :project",
            "ExpressionAttributeNames": {"#project": "project"},
            "FilterExpression": "client = :client",
            "ExpressionAttributeValues": {
                ":project": {"S": key.project},
                ":client": {"S": key.client},
            },
        }
        while True:
            page = self._client.query(**query)
            for row in _readable(page["Items"]):
                if row.mint_key == key:
                    return True
            if "LastEvaluatedKey" not in page:
                return False
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def registered(self, row: RunnerRow) -> RunnerRow | None:
        """The runner of `row` as it is registered now, None where it is not."""
        rows = self._read([runner_key(row.project, row.runner)])
        return rows[0] if rows else None

    def hasten(self, row: RunnerRow, *, now: int) -> None:
        """Make the runner due, unless it has changed since it was read."""
        self.commit([(row, replace(row, due_at=now))])

    def commit(self, changes: Sequence[Change]) -> list[RunnerRow]:
        """Write each pair's second row where its first still stands.

        Returns the first rows of those that do not: changed, refreshed or deleted meanwhile. Raises
        `ClientError` and `BotoCoreError` after all others were written.
        """
        stale: list[RunnerRow] = []
        failures: list[ClientError | BotoCoreError] = []
        for start in range(0, len(changes), COMMITS_A_CALL):
            batch = changes[start : start + COMMITS_A_CALL]
            if len(batch) > 1 and self._commit_together(batch):
                continue
            for before, after in batch:
                try:
                    if not self._commit_one(before, after):
                        stale.append(before)
                except (ClientError, BotoCoreError) as failure:
                    failures.append(failure)
        if failures:
            raise failures[0]
        return stale

    def _commit_together(self, changes: Sequence[Change]) -> bool:
        try:
            self._client.transact_write_items(
                TransactItems=[{"Put": self._put(before, after)} for before, after in changes]
            )
        except ClientError:
            return False  # one by one tells which, and lets the others through
        return True

    def _commit_one(self, before: RunnerRow, after: RunnerRow) -> bool:
        try:
            self._client.put_item(**self._put(before, after))
        except self._client.exceptions.ConditionalCheckFailedException:
            return self._read([after.key]) == [after]  # our own, whose answer was lost
        return True

    def _put(self, before: RunnerRow, after: RunnerRow) -> "PutTypeDef":
        return {
            "TableName": self._table,
            "Item": runner_item(after),
            "ConditionExpression": (
                "generation = :generation AND revision = :revision AND due_at = :due"
            ),
            "ExpressionAttributeValues": {
                ":generation": {"N": str(before.generation)},
                ":revision": {"S": before.revision},
                ":due": {"N": str(before.due_at)},
            },
        }

    def _read(self, keys: Sequence[Item]) -> list[RunnerRow]:
        rows: list[RunnerRow] = []
        for start in range(0, len(keys), KEYS_A_CALL):
            wanted: Any = [
                {"project": key["project"], "runner": key["runner"]}
                for key in keys[start : start + KEYS_A_CALL]
            ]
            for _ in range(READ_ATTEMPTS):
                answer = self._client.batch_get_item(
                    RequestItems={self._table: {"Keys": wanted, "ConsistentRead": True}}
                )
                rows += _readable(answer["Responses"].get(self._table, []))
                left: Any = answer.get("UnprocessedKeys", {})
                if not left:
                    break
                wanted = left[self._table]["Keys"]
        return rows


def _readable(items: Iterable[Item]) -> list[RunnerRow]:
    rows = []
    for item in items:
        try:
            rows.append(read_runner(item))
        except UnreadableRow:
            continue  # the planner counts it; the others must not wait for it
    return rows
