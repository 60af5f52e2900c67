"""Listings, newest first, whose pages are read by keys: one query a page, never a scan."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from byline.tables.rows import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

ROWS_PER_PAGE = 100
PAGES_PER_LISTING = 5
"""The most pages that one filtered listing reads to fill its answer."""

type Page = tuple[list[Item], str | None]
"""Rows, and the sort key after which to go on; None at the listing's end."""


def list_pages(
    client: "DynamoDBClient",
    query: "Callable[[str | None], QueryInputTypeDef]",
    *,
    limit: int,
    after: str | None,
    key_of: Callable[[Item], str],
) -> Page:
    """Up to `limit` rows of a query, and the sort key after which to go on if there are more.

    `query` gives the request for the rows after a sort key, None for the first; it must ask for
    more than `limit` rows. At most `PAGES_PER_LISTING` pages are read, so a filtered listing may
    end early with a key to go on.
    """
    found: list[Item] = []
    for _ in range(PAGES_PER_LISTING):
        page = client.query(**query(after))
        found += page["Items"]
        if len(found) > limit:
            return found[:limit], key_of(found[limit - 1])
        if "LastEvaluatedKey" not in page:
            return found, None
        after = key_of(page["LastEvaluatedKey"])
    return found, after


def merge_pages(pages: Sequence[Page], *, limit: int, key_of: Callable[[Item], str]) -> Page:
    """Pages of several listings, each newest first, as one page; a row of several comes once."""
    # A listing that goes on is known down to its end only, so all are known down to the first end.
    ends = [end for _, end in pages if end is not None]
    end = max(ends, default=None)
    rows = {
        key_of(row): row for found, _ in pages for row in found if end is None or key_of(row) >= end
    }
    newest = sorted(rows.values(), key=key_of, reverse=True)
    if len(newest) > limit:
        return newest[:limit], key_of(newest[limit - 1])
    return newest, end
