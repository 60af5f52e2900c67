"""Listing runs, newest first: one key or index query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from cursors import Position
from run_items import Item, run_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

CREATOR_INDEX = "by-creator"
"""(creator, run id): holds only rows that have a creator."""

ROWS_A_PAGE = 100
PAGES_A_LISTING = 5
"""How many pages of so many rows one filtered listing reads at most to fill its answer."""

ANSWER_BYTES = 900_000
"""A load balancer takes 1 MB of JSON from a function: room for what stands around the runs."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Which runs to list, newest first. Of `project` and `creator` at least one is given."""

    project: str | None
    creator: str | None
    creator_issuer: str | None
    status: str | None


def list_runs(
    client: "DynamoDBClient", table: str, listing: Listing, *, limit: int, after: Position | None
) -> tuple[list[Item], Position | None]:
    """Up to `limit` runs, newest first, and where to go on if there are more.

    Reads a bounded number of pages: a filtered listing may end early with a place to go on.
    """
    found: list[Item] = []
    position = after
    for _ in range(PAGES_A_LISTING):
        page = client.query(**_query(table, listing, limit, position))
        found += page["Items"]
        if len(found) > limit:
            return found[:limit], position_of(found[limit - 1])
        if "LastEvaluatedKey" not in page:
            return found, None
        position = position_of(page["LastEvaluatedKey"])
    return found, position


def list_merged(
    client: "DynamoDBClient",
    table: str,
    listings: Sequence[Listing],
    *,
    limit: int,
    after: Position | None,
) -> tuple[list[Item], Position | None]:
    """The same of several listings as if they were one, each run once."""
    pages = [list_runs(client, table, listing, limit=limit, after=after) for listing in listings]
    # One that goes on is known down to there, and so are all together: no further than the first.
    ends = [end for _, end in pages if end is not None]
    end = max(ends, key=lambda end: end.id, default=None)
    rows = {
        row["id"]["S"]: row
        for found, _ in pages
        for row in found
        if end is None or row["id"]["S"] >= end.id
    }
    newest = sorted(rows.values(), key=lambda row: row["id"]["S"], reverse=True)
    if len(newest) > limit:
        return newest[:limit], position_of(newest[limit - 1])
    return newest, end


def fitting(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many of `runs` as fit into one answer, at least the first."""
    used = 0
    for count, run in enumerate(runs):
        # An answer carries its body as text, so every quote in it is escaped once more.
        used += len(msgspec.json.encode(msgspec.json.encode(run).decode()))
        if used > ANSWER_BYTES and count:
            return runs[:count]
    return runs


def position_of(item: Item) -> Position:
    """Where a listing goes on after the row `item`."""
    return Position(item["project"]["S"], item["id"]["S"])


def _query(table: str, listing: Listing, limit: int, after: Position | None) -> "QueryInputTypeDef":
    key = {"creator": listing.creator} if listing.creator else {"project": listing.project}
    narrowed = {
        "project": listing.project,
        "creator_issuer": listing.creator_issuer,
        "status": listing.status,
    }
    filters = {name: value for name, value in narrowed.items() if value and name not in key}
    values = {name: {"S": value} for name, value in (key | filters).items()}
    query: QueryInputTypeDef = {
        "TableName": table,
        "ScanIndexForward": False,
        # One more than asked for tells whether a listing without a filter is at its end.
        "Limit": ROWS_A_PAGE if filters else limit + 1,
        "KeyConditionExpression": _all_equal(key),
        # `project` and `status` are reserved words of DynamoDB's.
        "ExpressionAttributeNames": {f"#{name}": name for name in values},
        "ExpressionAttributeValues": {f":{name}": value for name, value in values.items()},
    }
    if listing.creator:
        query["IndexName"] = CREATOR_INDEX
    if filters:
        query["FilterExpression"] = _all_equal(filters)
    if after is not None:
        # The key goes last: whatever a forged cursor says, the listing stays in its partition.
        start = run_key(after.project, after.id)
        query["ExclusiveStartKey"] = start | {name: values[name] for name in key}
    return query


def _all_equal(names: Iterable[str]) -> str:
    return " AND ".join(f"#{name} = :{name}" for name in names)
