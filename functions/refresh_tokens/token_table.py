"""Tokens' rows and work units' leases in RunnersTable, as the refresher uses them.

Every write is conditional. A commit counts only for the token and the generation that it was
decided on: a late worker, a second worker, or the refresh of a retired token changes nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from byline.refresh.timing import DAY_SECONDS, is_meant
from byline.refresh.token_rows import (
    DUE_INDEX,
    TokenRow,
    UnreadableRow,
    lease_key,
    read_token_row,
    retired_of,
    token_key,
    tokens_of,
)
from byline.refresh.work_units import WorkUnit
from byline.tables.rows import (
    ConditionFailed,
    Contended,
    Item,
    attributes,
    read_rows,
    write_row,
    write_together,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef, UpdateTypeDef

COMMITS_A_CALL = 25
"""A transaction takes 100, but one condition that does not hold cancels all of them."""

WRITTEN = (
    "generation",
    "shard",
    "due_at",
    "next_try_at",
    "deadline",
    "lifetime",
    "issued_at",
    "expires_at",
    "refreshed_at",
    "slots",
    "slot",
    "attempts",
    "last_error",
    "window_started_at",
    "window_writes",
    "ttl",
)
"""The attributes that the refresher writes. All others are the API's, which changes some of them
while a refresh is under way: above all `runners`."""

type Change = tuple[TokenRow, TokenRow]
"""A row as it was read, and the row that it becomes."""

type Found = TokenRow | Literal["absent", "unreadable"]
"""The row of a key. "absent": no runner points to a token of this key."""


class TokenTable:
    """Reads and changes the rows of tokens."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def due(self, work_unit: WorkUnit, *, up_to: int | None, now: int) -> list[TokenRow]:
        """The work unit's rows that are due at `now`, read consistently.

        Of tokens that were minted, only those with a deadline `up_to` this one, or all. Rows that
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

    def live(self, row: TokenRow) -> Found:
        """The live token for the same as `row`: itself, or a later one with another id."""
        return self._found(token_key(row.project, row.mint_key.token_key))

    def make_due_now(self, row: TokenRow, *, now: int) -> None:
        """Make the token due, unless its row has changed since it was read."""
        after = replace(row, due_at=now, next_try_at=None)
        if after != row:
            self.commit([(row, after)])

    def commit(self, changes: Sequence[Change]) -> list[TokenRow]:
        """Write each pair's second row where its first row is unchanged.

        Returns the first rows that have changed: refreshed, made due or retired meanwhile. Raises
        `ClientError`, `BotoCoreError` and `Contended` after all others were written.
        """
        stale: list[TokenRow] = []
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
            ":tokens": tokens_of(work_unit.project),
            ":retired": retired_of(work_unit.project),
        }
        wanted = "#project IN (:tokens, :retired)"
        if up_to is not None:
            # This only saves reads. `is_meant` decides, by the rows as they are.
            wanted += (
                " AND (deadline <= :up_to OR attribute_not_exists(expires_at)"
                " OR attribute_exists(retired_at))"
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
            keys += (
                {"project": item["project"], "runner": item["runner"]} for item in page["Items"]
            )
            if "LastEvaluatedKey" not in page:
                return keys
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _found(self, key: Item) -> Found:
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            return "absent"
        try:
            return read_token_row(answer["Item"])
        except UnreadableRow:
            return "unreadable"

    def _commit_together(self, changes: Sequence[Change]) -> bool:
        """Whether all are written. Where not, single commits find out which may be."""
        try:
            return not write_together(
                self._client,
                {
                    str(number): {"Update": self._update(before, after)}
                    for number, (before, after) in enumerate(changes)
                },
            )
        except (ClientError, Contended):
            return False

    def _commit_one(self, before: TokenRow, after: TokenRow) -> bool:
        update: Any = self._update(before, after)
        try:
            write_row(self._client, lambda: self._client.update_item(**update))
        except ConditionFailed:
            # Perhaps by this worker's own write, whose answer was lost.
            found = self._found(after.key)
            return isinstance(found, TokenRow) and found.id == after.id and _is_same(found, after)
        return True

    def _update(self, before: TokenRow, after: TokenRow) -> "UpdateTypeDef":
        """The change of the attributes that differ, where `before` is still the row."""
        new: dict[str, Any] = {
            name: getattr(after, name)
            for name in WRITTEN
            if getattr(after, name) != getattr(before, name)
        }
        sets = [f"#{name} = :{name}" for name, value in new.items() if value is not None]
        removes = [f"#{name}" for name, value in new.items() if value is None]
        values = {f":{name}": value for name, value in msgspec.to_builtins(new).items()}
        condition = {":id": before.id, ":was": before.generation, ":due": before.due_at}
        return {
            "TableName": self._table,
            "Key": before.key,
            "UpdateExpression": " ".join(
                f"{verb} {', '.join(changed)}"
                for verb, changed in (("SET", sets), ("REMOVE", removes))
                if changed
            ),
            "ConditionExpression": "id = :id AND generation = :was AND due_at = :due",
            "ExpressionAttributeNames": {f"#{name}": name for name in new},
            "ExpressionAttributeValues": attributes(values | condition),
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


def _is_same(found: TokenRow, after: TokenRow) -> bool:
    return all(getattr(found, name) == getattr(after, name) for name in WRITTEN)


def _readable(items: Iterable[Item]) -> Iterable[TokenRow]:
    for item in items:
        with suppress(UnreadableRow):
            yield read_token_row(item)
