"""Listing runs, newest first: one key or index query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from byline.tables.paging import (
    PAGES_PER_LISTING,
    PAGES_PER_REQUEST,
    ROWS_PER_PAGE,
    MergedRows,
    Page,
    list_rows,
)
from byline.tables.rows import NOT_EXPIRED, Item, seconds
from serve_runs.errors import RequestFailed, is_about_an_index
from serve_runs.runs.states import LIVE
from serve_runs.runs.views import live_partition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef, QueryOutputTypeDef

    from byline.tables.paging import ReadPage
    from serve_runs.runs.filters import RunFilters

CREATOR_INDEX = "by-creator"
"""Keyed by (creator, run id). It has only rows with a creator."""

REPRESENTED_INDEX = "by-represented"
"""Keyed by (person, run id). It has only rows of runs that were created on behalf of a person."""

LIVE_INDEX = "by-live"
"""Keyed by (project and state, run id). It has only runs that are not over."""

ACCOUNTABLE_INDEX = "by-accountable"
"""Keyed by (accountable principal, run id). It has only runs that are not over."""


class RunQuery(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """The runs to list. At least one of `project`, `creator` and `person` is given.

    `own`: the column of a creator that created the run on nobody's behalf. `person`: the principal
    on whose behalf the run was created. Cursors are bound to the `repr`, so a filter that is not
    given stays out of it: the cursors of earlier versions lead to the same rows.
    """

    project: str | None
    creator: str | None
    creator_issuer: str | None
    status: str | None
    through: str | None = None
    own: str | None = None
    person: str | None = None
    filters: "RunFilters | None" = None


class Listed(msgspec.Struct, frozen=True):
    """The queries of a listing, and whether more people have its e-mail address."""

    queries: tuple[RunQuery, ...]
    more_people: bool = False


def list_runs(
    client: "DynamoDBClient",
    table: str,
    queries: Sequence[RunQuery],
    *,
    limit: int,
    after: str | None,
    now: float,
) -> Page:
    """Up to `limit` runs of all `queries`, newest first, and the id to continue after.

    A run that several queries find is listed once, one that has expired by `now` never. A filtered
    page may be short and not the last.
    """
    listings = _listings(client, table, queries, limit=limit, now=now)
    return list_rows(listings, limit=limit, after=after, key_of=id_of)


def list_visible_runs(
    client: "DynamoDBClient",
    table: str,
    queries: Sequence[RunQuery],
    *,
    limit: int,
    after: str | None,
    now: float,
    visible: Callable[[list[Item]], list[Item]],
) -> Page:
    """Up to `limit` runs as in `list_runs`, but only those that `visible` returns.

    Many hidden runs in sequence end a page early. Its cursor then may contain the id of a hidden
    run, which gives no access without the run's project.
    """
    listings = _listings(client, table, queries, limit=limit, now=now)
    rows = MergedRows(listings, after=after, key_of=id_of, pages=PAGES_PER_REQUEST)
    found: list[Item] = []
    # One row more than the page shows whether a visible run follows. Later reads are whole pages.
    wanted = limit + 1
    for _ in range(PAGES_PER_LISTING):
        taken = rows.take(wanted)
        found += visible(taken)
        if len(found) > limit:
            return found[:limit], id_of(found[limit - 1])
        if len(taken) < wanted:
            break
        wanted = ROWS_PER_PAGE
    return found, rows.position


def id_of(item: Item) -> str:
    """A run's id, by which all listings are ordered."""
    return item["id"]["S"]


def _listings(
    client: "DynamoDBClient", table: str, queries: Sequence[RunQuery], *, limit: int, now: float
) -> "list[ReadPage]":
    return [_listing(client, table, query, limit=limit, now=now) for query in queries]


def _listing(
    client: "DynamoDBClient", table: str, query: RunQuery, *, limit: int, now: float
) -> "ReadPage":
    """Reads the runs of one query, from the index with the fewest rows to read.

    An upgrade creates `by-live`, and does not wait until DynamoDB has filled it. Until then the
    runs are read as before. `by-represented` has no other way: the page raises `RequestFailed`
    (`store_unavailable`).
    """
    otherwise = REPRESENTED_INDEX if query.person else CREATOR_INDEX if query.creator else ""
    is_live = query.project and query.status in LIVE
    indexes = [LIVE_INDEX, otherwise] if is_live else [otherwise]
    # One row more than the answer shows whether an unfiltered listing has ended.
    rows = limit + 1

    def read_page(after: str | None) -> "QueryOutputTypeDef":
        nonlocal rows
        while indexes:
            try:
                page = client.query(**_request(table, query, indexes[0], rows, now, after))
            except client.exceptions.ClientError as error:
                if not is_about_an_index(error):
                    raise
                del indexes[0]
            else:
                rows = ROWS_PER_PAGE
                # A page with a least id begins with the run after which it starts.
                page["Items"] = [row for row in page["Items"] if id_of(row) != after]
                return page
        raise RequestFailed(
            "store_unavailable", "The index of runs by person is being filled. Retry later."
        )

    return read_page


def _key_of(query: RunQuery, index: str) -> dict[str, str | None]:
    if index == LIVE_INDEX:
        return {"live": live_partition(query.project or "", query.status or "")}
    if index == REPRESENTED_INDEX:
        return {"person": query.person}
    return {"creator": query.creator} if index == CREATOR_INDEX else {"project": query.project}


def _request(
    table: str, query: RunQuery, index: str, rows: int, now: float, after: str | None
) -> "QueryInputTypeDef":
    key = _key_of(query, index)
    narrowed = {
        "creator": query.creator,
        "project": query.project,
        "creator_issuer": query.creator_issuer,
        "status": query.status,
        "through": query.through,
        "person": query.person,
    }
    filters = {name: value for name, value in narrowed.items() if value and name not in key}
    # All rows of a partition of `by-live` have its project and status, except rows that a function
    # of the release before has written since.
    passes_all = (
        not query.own
        and (query.filters is None or query.filters.passes_all)
        and filters.keys() <= ({"project", "status"} if index == LIVE_INDEX else set())
    )
    wanted = {name: value for name, value in (key | filters).items() if value}
    values: Item = {f":{name}": {"S": value} for name, value in wanted.items()}
    values[":now"] = seconds(now)
    request: QueryInputTypeDef = {
        "TableName": table,
        "ScanIndexForward": False,
        "Limit": rows if passes_all else ROWS_PER_PAGE,
        "KeyConditionExpression": " AND ".join(map(_equal, key)),
        # `project` and `status` are reserved words of DynamoDB.
        "ExpressionAttributeNames": {f"#{name}": name for name in wanted},
        "ExpressionAttributeValues": values,
        "FilterExpression": " AND ".join([NOT_EXPIRED, *map(_equal, filters), *_kinds(query)]),
    }
    if index:
        request["IndexName"] = index
    # A condition instead of a start key, which would need the project of a possibly hidden run.
    # A forged cursor cannot leave the request's partition.
    bounds = "" if after is None else "id < :after"
    if query.filters is not None:
        bounds, ids = query.filters.bounds(after)
        conditions, names, compared = query.filters.conditions()
        request["FilterExpression"] = " AND ".join([request["FilterExpression"], *conditions])
        request["ExpressionAttributeNames"] = {**request["ExpressionAttributeNames"], **names}
        values |= ids | compared
    elif after is not None:
        values[":after"] = {"S": after}
    if bounds:
        request["KeyConditionExpression"] += f" AND {bounds}"
    return request


def _kinds(query: RunQuery) -> list[str]:
    """The conditions on the kind of a row."""
    if query.own:
        return [f"attribute_exists({query.own})", "attribute_not_exists(person)"]
    # Tombstones of earlier versions and revocations of grants have a `person` too.
    is_run = ["attribute_exists(executed_by)", "attribute_not_exists(deleted_at)"]
    return is_run if query.person else []


def _equal(name: str) -> str:
    return f"#{name} = :{name}"
