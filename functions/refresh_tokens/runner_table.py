"""Runners' rows and work units' leases in RunnersTable, as the refresher uses them.

Every write is conditional. A commit counts only for the generation and the registration that it was
decided on: a late worker, a second worker, or a deleted runner's refresh changes nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import BotoCoreError, ClientError

from byline.refresh.runner_rows import (
    DUE_INDEX,
    RunnerRow,
    UnreadableRow,
    lease_key,
    read_runner,
    runner_item,
    runner_key,
)
from byline.refresh.timing import DAY_SECONDS, is_meant
from byline.refresh.work_units import MintKey, WorkUnit
from byline.tables.rows import (
    ConditionFailed,
    Contended,
    Item,
    read_rows,
    write_row,
    write_together,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, QueryInputTypeDef

COMMITS_A_CALL = 25
"""A transaction takes 100, but one condition that does not hold cancels all of them."""

type Change = tuple[RunnerRow, RunnerRow]
"""A row as it was read, and the row that replaces it."""

type Found = RunnerRow | Literal["absent", "unreadable"]
"""The row of a runner's key. "absent": no runner is registered with that name."""


class RunnerTable:
    """Reads and changes the rows of runners."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def due(self, work_unit: WorkUnit, *, up_to: int | None, now: int) -> list[RunnerRow]:
        """The work unit's rows that are due at `now`, read consistently.

        Of runners that have a token, only those with a deadline `up_to` this one, or all. Rows that
        DynamoDB did not answer for are left to the next tick; rows that cannot be read are left out
        (the planner counts them).
        """
        rows = read_rows(self._client, self._table, self._due_keys(work_unit, up_to=up_to, now=now))
        return [
            row
            for row in _readable(rows.items)
            if row.shard == work_unit.shard
            and row.try_at is not None
            and row.try_at <= now
            and is_meant(row, up_to=up_to)
        ]

    def is_shared(self, key: MintKey) -> bool:
        """Whether a registered runner may hold a token of this mint key.

        A row that cannot be read may be such a runner's.
        """
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
        for item in self._pages(query):
            try:
                if read_runner(item).mint_key == key:
                    return True
            except UnreadableRow:
                return True
        return False

    def registered(self, row: RunnerRow) -> Found:
        """The runner that is registered under the name of `row` now."""
        return self._found(runner_key(row.project, row.runner))

    def make_due_now(self, row: RunnerRow, *, now: int) -> None:
        """Make the runner due, unless its row has changed since it was read."""
        self.commit([(row, replace(row, due_at=now, next_try_at=None))])

    def commit(self, changes: Sequence[Change]) -> list[RunnerRow]:
        """Write each pair's second row where its first row is unchanged.

        Returns the first rows that have changed: refreshed, registered or deleted meanwhile. Raises
        `ClientError`, `BotoCoreError` and `Contended` after all others were written.
        """
        stale: list[RunnerRow] = []
        failures: list[Exception] = []
        for start in range(0, len(changes), COMMITS_A_CALL):
            batch = changes[start : start + COMMITS_A_CALL]
            if len(batch) > 1 and self._commit_together(batch):
                continue
            for before, after in batch:
                try:
                    if not self._commit_one(before, after):
                        stale.append(before)
                except (ClientError, BotoCoreError, Contended) as failure:
                    failures.append(failure)
        if failures:
            raise failures[0]
        return stale

    def _due_keys(self, work_unit: WorkUnit, *, up_to: int | None, now: int) -> list[Item]:
        """The keys of the due rows, by the index, which may be behind."""
        values: Item = {
            ":shard": {"S": work_unit.shard},
            ":now": {"N": str(now)},
            ":project": {"S": work_unit.project},
            ":deleted": {"S": f"deleted#{work_unit.project}"},
        }
        wanted = "#project IN (:project, :deleted)"
        if up_to is not None:
            # This only saves reads. `is_meant` decides, by the rows as they are.
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
        return [
            {"project": item["project"], "runner": item["runner"]} for item in self._pages(query)
        ]

    def _pages(self, query: "QueryInputTypeDef") -> Iterable[Item]:
        while True:
            page = self._client.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _found(self, key: Item) -> Found:
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            return "absent"
        try:
            return read_runner(answer["Item"])
        except UnreadableRow:
            return "unreadable"

    def _commit_together(self, changes: Sequence[Change]) -> bool:
        """Whether all are written. Where not, single commits find out which may be."""
        try:
            return not write_together(
                self._client,
                {
                    str(number): {"Put": self._put(before, after)}
                    for number, (before, after) in enumerate(changes)
                },
            )
        except (ClientError, Contended):
            return False

    def _commit_one(self, before: RunnerRow, after: RunnerRow) -> bool:
        put = self._put(before, after)
        try:
            write_row(self._client, lambda: self._client.put_item(**put))
        except ConditionFailed:
            return self._found(after.key) == after  # this worker's own write, whose answer was lost
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


class WorkUnitLeases:
    """The leases of one `owner`: one worker at a time for a work unit.

    A lease only saves mints that a second worker would do in vain. Tokens are consistent without
    it, because every write is conditional, so a lease may expire while its owner is still at work.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, owner: str) -> None:
        self._client = client
        self._table = table
        self._owner = owner

    def take(self, work_unit: WorkUnit, *, now: float, until: float) -> bool:
        """Whether the lease is this owner's now, for work that ends before `until`."""
        return self._written(
            lambda: self._client.put_item(
                TableName=self._table,
                Item={
                    **lease_key(work_unit),
                    "owner": {"S": self._owner},
                    "until": {"N": str(int(until) + 1)},
                    "ttl": {"N": str(int(until) + DAY_SECONDS)},
                },
                ConditionExpression=(
                    "attribute_not_exists(runner) OR #until <= :now OR #owner = :me"
                ),
                ExpressionAttributeNames={"#until": "until", "#owner": "owner"},
                ExpressionAttributeValues={":now": {"N": str(int(now))}, ":me": {"S": self._owner}},
            )
        )

    def release(self, work_unit: WorkUnit) -> None:
        """Give the lease back, unless it has become another owner's."""
        self._written(
            lambda: self._client.delete_item(
                TableName=self._table,
                Key=lease_key(work_unit),
                ConditionExpression="#owner = :me",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":me": {"S": self._owner}},
            )
        )

    def _written(self, write: Callable[[], object]) -> bool:
        try:
            write_row(self._client, write)
        except ConditionFailed:
            return False
        return True


def _readable(items: Iterable[Item]) -> Iterable[RunnerRow]:
    for item in items:
        with suppress(UnreadableRow):
            yield read_runner(item)
