"""Listing runs, newest first: one key or index query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from byline.tables.items import Item

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
    client: "DynamoDBClient", table: str, listing: Listing, *, limit: int, after: str | None
) -> tuple[list[Item], str | None]:
    """Up to `limit` runs, newest first, and after which id to go on if there are more.

    Reads a bounded number of pages: a filtered listing may end early with a place to go on.
    """
    found: list[Item] = []
    for _ in range(PAGES_A_LISTING):
        page = client.query(**_query(table, listing, limit, after))
        found += page["Items"]
        if len(found) > limit:
            return found[:limit], id_of(found[limit - 1])
        if "LastEvaluatedKey" not in page:
            return found, None
        after = id_of(page["LastEvaluatedKey"])
    return found, after


def list_merged(
    client: "DynamoDBClient",
    table: str,
    listings: Sequence[Listing],
    *,
    limit: int,
    after: str | None,
) -> tuple[list[Item], str | None]:
    """The same of several listings as if they were one, each run once."""
    pages = [list_runs(client, table, listing, limit=limit, after=after) for listing in listings]
    return merged(pages, limit=limit, id_of=id_of)


def merged(
    pages: Sequence[tuple[list[Item], str | None]], *, limit: int, id_of: Callable[[Item], str]
) -> tuple[list[Item], str | None]:
    """The pages of several listings as one listing's, each row once."""
    # One that goes on is known down to there, and so are all together: no further than the first.
    ends = [end for _, end in pages if end is not None]
    end = max(ends, default=None)
    rows = {
        id_of(row): row for found, _ in pages for row in found if end is None or id_of(row) >= end
    }
    newest = sorted(rows.values(), key=id_of, reverse=True)
    if len(newest) > limit:
        return newest[:limit], id_of(newest[limit - 1])
    return newest, end


def list_visible(
    client: "DynamoDBClient",
    table: str,
    listings: Sequence[Listing],
    *,
    limit: int,
    after: str | None,
    visible: Callable[[list[Item]], list[Item]],
) -> tuple[list[Item], str | None]:
    """The same of the runs that are `visible`, as if there were no others.

    Only where very many others stand between them does it end early, and goes on after one that
    may be hidden: then its id is told, which is nobody's without its project.
    """
    found: list[Item] = []
    # One more than asked for tells whether there is another one that may be told of. What is read
    # after that is whole pages.
    size = limit + 1
    for _ in range(PAGES_A_LISTING):
        rows, after = list_merged(client, table, listings, limit=size, after=after)
        found += visible(rows)
        if len(found) > limit:
            return found[:limit], id_of(found[limit - 1])
        if after is None:
            break
        size = ROWS_A_PAGE - 1
    return found, after


def fitting(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many of `runs` as fit into one answer, at least the first."""
    used = 0
    for count, run in enumerate(runs):
        # An answer carries its body as text, so every quote in it is escaped once more.
        used += len(msgspec.json.encode(msgspec.json.encode(run).decode()))
        if used > ANSWER_BYTES and count:
            return runs[:count]
    return runs


def id_of(item: Item) -> str:
    """A row's id, by which all listings are ordered."""
    return item["id"]["S"]


def _query(table: str, listing: Listing, limit: int, after: str | None) -> "QueryInputTypeDef":
    key = {"creator": listing.creator} if listing.creator else {"project": listing.project}
    narrowed = {
        "project": listing.project,
        "creator_issuer": listing.creator_issuer,
        "status": listing.status,
    }
    filters = {name: value for name, value in narrowed.items() if value and name not in key}
    wanted = {name: value for name, value in (key | filters).items() if value}
    values: Item = {f":{name}": {"S": value} for name, value in wanted.items()}
    query: QueryInputTypeDef = {
        "TableName": table,
        "ScanIndexForward": False,
        # One more than asked for tells whether a listing without a filter is at its end.
        "Limit": ROWS_A_PAGE if filters else limit + 1,
        "KeyConditionExpression": _all_equal(key),
        # `project` and `status` are reserved words of DynamoDB's.
        "ExpressionAttributeNames": {f"#{name}": name for name in wanted},
        "ExpressionAttributeValues": values,
    }
    if listing.creator:
        query["IndexName"] = CREATOR_INDEX
    if filters:
        query["FilterExpression"] = _all_equal(filters)
    if after is not None:
        # A bound and no start key, which would take the project of a run that may be hidden. And
        # whatever a forged cursor says, the listing stays in its partition.
        query["KeyConditionExpression"] += " AND id < :after"
        values[":after"] = {"S": after}
    return query


def _all_equal(names: Iterable[str]) -> str:
    return " AND ".join(f"#{name} = :{name}" for name in names)
