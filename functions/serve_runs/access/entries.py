"""Rows of `AccessTable` that may end by themselves, and their listings."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from byline.tables.paging import ROWS_PER_PAGE, Page, list_rows
from byline.tables.rows import EXPIRES_AT, NOT_EXPIRED, Item, rfc3339, seconds
from serve_runs.errors import RequestFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

MAX_DAYS = 366
"""The longest time after which a row may end by itself. Without an end it stays until deleted."""

ExpiresAt = Annotated[datetime, Meta(tz=True)]
"""When a row ends by itself, RFC 3339 with its offset, as bodies have it."""


def end_of(wanted: datetime | None, *, now: float) -> int | None:
    """The end of a row in whole seconds since the epoch; None for a row that does not end.

    Raises `RequestFailed` (`invalid_body`) for a time that has passed or is too far ahead.
    """
    if wanted is None:
        return None
    end = int(wanted.timestamp())
    if not now < end <= now + MAX_DAYS * 86_400:
        raise RequestFailed(
            "invalid_body", f"`expires_at` must be in the future, at most {MAX_DAYS} days ahead."
        )
    return end


def expiring(end: int | None) -> Item:
    """The attribute of a row that ends; empty for one that does not."""
    return {} if end is None else {EXPIRES_AT: seconds(end)}


def expires_at(row: Item) -> str | None:
    """When a row ends by itself, RFC 3339; None for one that does not."""
    return rfc3339(int(row[EXPIRES_AT]["N"])) if EXPIRES_AT in row else None


def list_entries(
    client: "DynamoDBClient",
    table: str,
    *,
    scope: str,
    prefix: str,
    limit: int,
    after: str | None,
    now: float,
) -> Page:
    """Up to `limit` rows of a scope whose sort keys start with `prefix`, in order of these.

    Also the rest of the sort key after which to go on, None at the end. Rows that have ended are
    left out.
    """

    def read_page(start: str | None) -> Any:
        query: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": "#scope = :scope AND begins_with(entry, :prefix)",
            "FilterExpression": NOT_EXPIRED,
            "ExpressionAttributeNames": {"#scope": "scope"},
            "ExpressionAttributeValues": {
                ":scope": {"S": scope},
                ":prefix": {"S": prefix},
                ":now": seconds(now),
            },
            "ConsistentRead": True,
            "Limit": max(limit + 1, ROWS_PER_PAGE),
        }
        if start is not None:
            # The scope comes from the request, so a forged cursor cannot leave it.
            query["ExclusiveStartKey"] = {"scope": {"S": scope}, "entry": {"S": prefix + start}}
        return client.query(**query)

    return list_rows(
        [read_page],
        limit=limit,
        after=after,
        key_of=lambda row: row["entry"]["S"].removeprefix(prefix),
    )
