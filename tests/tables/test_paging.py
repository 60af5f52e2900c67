"""Listings of several queries are one listing, in pages, with one budget of pages to read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from byline.tables.paging import PAGES_PER_LISTING, PAGES_PER_REQUEST, MergedRows, list_rows
from byline.tables.rows import Item

if TYPE_CHECKING:
    from byline.tables.paging import ReadPage

KEYS = st.sets(st.integers(1, 40), max_size=30)


def key(number: int) -> str:
    return f"{number:04}"


def key_of(item: Item) -> str:
    return item["id"]["S"]


class Listing:
    """The rows of a query, newest first, as DynamoDB answers: a filter follows the read of a page.

    `pages` counts the reads.
    """

    def __init__(self, stored: set[int], matching: set[int], *, size: int) -> None:
        self.stored = sorted(stored, reverse=True)
        self.matching = matching
        self.size = size
        self.pages = 0

    def read(self, after: str | None) -> Any:
        self.pages += 1
        rest = [number for number in self.stored if after is None or key(number) < after]
        read = rest[: self.size]
        page: dict[str, Any] = {
            "Items": [{"id": {"S": key(each)}} for each in read if each in self.matching]
        }
        if len(read) == self.size:
            # DynamoDB gives a key to go on with where the limit was reached, also at the end.
            page["LastEvaluatedKey"] = {"id": {"S": key(read[-1])}}
        return page


def all_pages(listings: Sequence[Listing], *, limit: int) -> list[list[str]]:
    """The keys on each page of a listing, to its end."""
    pages: list[list[str]] = []
    after: str | None = None
    reads: list[ReadPage] = [listing.read for listing in listings]
    while True:
        before = sum(listing.pages for listing in listings)
        rows, last = list_rows(reads, limit=limit, after=after, key_of=key_of)
        assert sum(listing.pages for listing in listings) - before <= PAGES_PER_REQUEST
        assert len(rows) <= limit
        pages.append([key_of(row) for row in rows])
        if last is None:
            return pages
        assert after is None or last < after, "a page ends further on than it began"
        after = last


@given(
    stored=st.lists(KEYS, min_size=1, max_size=12),
    hidden=KEYS,
    size=st.integers(1, 7),
    limit=st.integers(1, 6),
)
def test_pages_have_each_row_of_all_listings_once(
    stored: list[set[int]], hidden: set[int], size: int, limit: int
) -> None:
    """Wherever pages end: no row is lost, none comes twice, and the order is newest first."""
    listings = [Listing(each, each - hidden, size=size) for each in stored]
    found = [each for page in all_pages(listings, limit=limit) for each in page]
    assert found == sorted(map(key, set().union(*stored) - hidden), reverse=True)


@given(stored=st.lists(KEYS, min_size=2, max_size=4), data=st.data())
def test_row_at_the_end_of_another_listings_page_is_not_lost(
    stored: list[set[int]], data: st.DataObject
) -> None:
    """A listing's filter may leave out the row with which its page ends, and another's have it."""
    listings = [
        Listing(each, data.draw(st.sets(st.sampled_from(sorted(each)))) if each else set(), size=1)
        for each in stored
    ]
    found = [each for page in all_pages(listings, limit=2) for each in page]
    wanted = set().union(*(listing.matching for listing in listings))
    assert found == sorted(map(key, wanted), reverse=True)


def test_listing_of_one_query_reads_five_pages() -> None:
    """A filter that matches nothing ends a page early, with a key to go on."""
    listing = Listing(set(range(1, 100)), set(), size=3)
    found, last = list_rows([listing.read], limit=1, after=None, key_of=key_of)
    assert (found, last) == ([], key(100 - 3 * PAGES_PER_LISTING))
    assert listing.pages == PAGES_PER_LISTING


def test_many_listings_share_the_pages_of_a_request() -> None:
    """Twelve queries that find nothing read 25 pages together, and the answer has a key to go on.

    The listing that is behind the others reads next, so all get as far.
    """
    listings = [Listing(set(range(1, 1_000)), set(), size=10) for _ in range(12)]
    found, last = list_rows(
        [listing.read for listing in listings], limit=1, after=None, key_of=key_of
    )
    assert found == []
    assert sum(listing.pages for listing in listings) == PAGES_PER_REQUEST
    assert last == key(1_000 - 20)
    assert {listing.pages for listing in listings} == {2, 3}


def test_page_is_read_only_when_it_is_needed() -> None:
    """An old listing's second page is not read while a newer one fills the answer."""
    newer, older = (
        Listing(set(range(50, 90)), set(range(50, 90)), size=5),
        Listing(set(range(1, 40)), set(range(1, 40)), size=5),
    )
    rows = MergedRows([newer.read, older.read], after=None, key_of=key_of, pages=25)
    assert [key_of(row) for row in rows.take(12)] == [key(each) for each in range(89, 77, -1)]
    assert (newer.pages, older.pages) == (3, 1)
    assert rows.position == key(78)
