"""Listing runs, newest first: one key or index query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cursors import Position
from run_items import Item, run_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

CREATOR_INDEX = "by-creator"
"""(creator, run id): holds only rows that have a creator."""

PAGES_A_LISTING = 5
"""How many pages of 100 rows one filtered listing reads at most to fill its answer."""


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
            return found[:limit], _position(found[limit - 1])
        if "LastEvaluatedKey" not in page:
            return found, None
        position = _position(page["LastEvaluatedKey"])
    return found, position


def _query(table: str, listing: Listing, limit: int, after: Position | None) -> "QueryInputTypeDef":
    filters = []
    values: Item = {}
    query: QueryInputTypeDef = {"TableName": table, "ScanIndexForward": False}
    start: Item = {}
    if after is not None:
        start = run_key(after.project, after.run_id)
    if listing.creator is None:
        query["KeyConditionExpression"] = "project = :project"
    else:
        query["IndexName"] = CREATOR_INDEX
        query["KeyConditionExpression"] = "creator = :creator"
        values[":creator"] = {"S": listing.creator}
        if listing.project is not None:
            filters.append("project = :project")
        if listing.creator_issuer is not None:
            filters.append("creator_issuer = :issuer")
            values[":issuer"] = {"S": listing.creator_issuer}
        if start:
            start["creator"] = values[":creator"]
    if listing.project is not None:
        values[":project"] = {"S": listing.project}
    if listing.status is not None:
        filters.append("#status = :status")
        values[":status"] = {"S": listing.status}
        query["ExpressionAttributeNames"] = {"#status": "status"}
    if filters:
        query["FilterExpression"] = " AND ".join(filters)
    query["ExpressionAttributeValues"] = values
    # One more than asked for tells whether a listing without a filter is at its end.
    query["Limit"] = 100 if filters else limit + 1
    if start:
        query["ExclusiveStartKey"] = start
    return query


def _position(item: Item) -> Position:
    return Position(item["project"]["S"], item["id"]["S"])
