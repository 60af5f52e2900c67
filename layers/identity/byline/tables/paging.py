"""Listings in pages that are read by keys: one query a page, never a scan."""

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from typing import TYPE_CHECKING

from byline.tables.rows import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import QueryOutputTypeDef

    type ReadPage = Callable[[str | None], QueryOutputTypeDef]

ROWS_PER_PAGE = 100
PAGES_PER_LISTING = 5
"""The most pages that a listing by one query reads to fill its answer."""

PAGES_PER_REQUEST = 25
"""The most pages that a request reads, however many queries its listing has."""

type Page = tuple[list[Item], str | None]
"""Rows, and the sort key after which to go on; None at the listing's end."""


class _NoPageLeft(Exception):
    """The request has read all the pages that it may read."""


class MergedRows:
    """The rows of several listings, each newest first, as one: each row once.

    Each listing returns its page of rows after a sort key, None for the first. Together they read
    at most `pages` pages, or one each if there are more listings. The listing that is behind the
    others reads the next page. With one listing, its order may be any.

    `position`: the sort key down to which all rows were returned; None at the end.
    """

    def __init__(
        self,
        listings: "Sequence[ReadPage]",
        *,
        after: str | None,
        key_of: Callable[[Item], str],
        pages: int,
    ) -> None:
        self.position = after
        self._key_of = key_of
        self._pages_left = max(pages, len(listings))
        self._last: str | None = None
        places = [self._places(listing, after) for listing in listings]
        self._merged = merge(*places, key=_order, reverse=True)

    def take(self, wanted: int) -> list[Item]:
        """The next rows. Fewer than `wanted` come at the end, or when no page is left to read."""
        found: list[Item] = []
        try:
            for key, row in self._merged:
                self.position = key
                if row is not None and key != self._last:
                    self._last = key
                    found.append(row)
                    if len(found) == wanted:
                        return found
        except _NoPageLeft:
            return found
        self.position = None
        return found

    def _places(self, listing: "ReadPage", after: str | None) -> Iterator[tuple[str, Item | None]]:
        """The rows of a listing with their sort keys, and the last key of each page read."""
        while True:
            if not self._pages_left:
                raise _NoPageLeft
            self._pages_left -= 1
            page = listing(after)
            for row in page["Items"]:
                yield self._key_of(row), row
            if "LastEvaluatedKey" not in page:
                return
            after = self._key_of(page["LastEvaluatedKey"])
            yield after, None


def list_rows(
    listings: "Sequence[ReadPage]",
    *,
    limit: int,
    after: str | None,
    key_of: Callable[[Item], str],
) -> Page:
    """Up to `limit` rows of all listings, and the sort key after which to go on if more may follow.

    A filtered listing may end early with a key to go on. `MergedRows` says what it reads.
    """
    pages = min(PAGES_PER_LISTING * len(listings), PAGES_PER_REQUEST)
    rows = MergedRows(listings, after=after, key_of=key_of, pages=pages)
    # One row more than the page shows whether a row follows.
    found = rows.take(limit + 1)
    if len(found) > limit:
        return found[:limit], key_of(found[limit - 1])
    return found, rows.position


def _order(place: tuple[str, Item | None]) -> tuple[str, bool]:
    """Newest first; a row comes before the end of another listing's page at the same key."""
    key, row = place
    return key, row is not None
