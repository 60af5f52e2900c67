"""Listing runs, newest first: one key or index query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from byline.tables.paging import PAGES_PER_LISTING, ROWS_PER_PAGE, Page, list_pages, merge_pages
from byline.tables.rows import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

CREATOR_INDEX = "by-creator"
"""(creator, run id): holds only rows that have a creator."""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """The runs to list. At least one of `project` and `creator` is given."""

    project: str | None
    creator: str | None
    creator_issuer: str | None
    status: str | None


def list_runs(
    client: "DynamoDBClient",
    table: str,
    queries: Sequence[RunQuery],
    *,
    limit: int,
    after: str | None,
) -> Page:
    """Up to `limit` runs of all `queries`, newest first, and the id after which to go on.

    A run that several queries find comes once. A filtered listing may end early with an id.
    """
    pages = [
        list_pages(
            client, partial(_request, table, query, limit), limit=limit, after=after, key_of=id_of
        )
        for query in queries
    ]
    return merge_pages(pages, limit=limit, key_of=id_of)


def list_visible_runs(
    client: "DynamoDBClient",
    table: str,
    queries: Sequence[RunQuery],
    *,
    limit: int,
    after: str | None,
    visible: Callable[[list[Item]], list[Item]],
) -> Page:
    """The same for the runs that are `visible`, as if no others existed.

    Where very many hidden runs lie between visible ones the listing ends early, after a run that
    may be hidden. Then its id is shown, which is of no use without its project.
    """
    found: list[Item] = []
    # One more than asked for tells whether a visible run follows. Later reads are whole pages.
    size = limit + 1
    for _ in range(PAGES_PER_LISTING):
        rows, after = list_runs(client, table, queries, limit=size, after=after)
        found += visible(rows)
        if len(found) > limit:
            return found[:limit], id_of(found[limit - 1])
        if after is None:
            break
        size = ROWS_PER_PAGE - 1
    return found, after


def id_of(item: Item) -> str:
    """A run's id, by which all listings are ordered."""
    return item["id"]["S"]


def _request(table: str, query: RunQuery, limit: int, after: str | None) -> "QueryInputTypeDef":
    key = {"creator": query.creator} if query.creator else {"project": query.project}
    narrowed = {
        "project": query.project,
        "creator_issuer": query.creator_issuer,
        "status": query.status,
    }
    filters = {name: value for name, value in narrowed.items() if value and name not in key}
    wanted = {name: value for name, value in (key | filters).items() if value}
    values: Item = {f":{name}": {"S": value} for name, value in wanted.items()}
    request: QueryInputTypeDef = {
        "TableName": table,
        "ScanIndexForward": False,
        # One more than asked for tells whether an unfiltered listing has ended.
        "Limit": ROWS_PER_PAGE if filters else limit + 1,
        "KeyConditionExpression": _all_equal(key),
        # `project` and `status` are reserved words of DynamoDB.
        "ExpressionAttributeNames": {f"#{name}": name for name in wanted},
        "ExpressionAttributeValues": values,
    }
    if query.creator:
        request["IndexName"] = CREATOR_INDEX
    if filters:
        request["FilterExpression"] = _all_equal(filters)
    if after is not None:
        # A bound instead of a start key, which would need the project of a run that may be hidden.
        # A forged cursor cannot leave the request's partition.
        request["KeyConditionExpression"] += " AND id < :after"
        values[":after"] = {"S": after}
    return request


def _all_equal(names: Iterable[str]) -> str:
    return " AND ".join(f"#{name} = :{name}" for name in names)
