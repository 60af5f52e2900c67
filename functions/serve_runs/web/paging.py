"""Pages of a listing: cursors, and the number of rows that fit into one answer.

A cursor is not signed, because it grants no access. The request alone selects the rows; the cursor
names the row after which a page starts. A checksum detects a cursor of another query. A forged
cursor reaches only rows of a listing that its caller may read anyway.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from serve_runs.errors import RequestFailed

MAX_POSITION_BYTES = 840
"""The longest position. A sort key has at most 1,024 bytes, including its prefix.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

ANSWER_BYTES = 900_000
"""The most bytes of rows in one answer. A load balancer accepts 1 MB of JSON from a function."""

_CHECK_BYTES = 9
_FORMAT = b"byline cursor 1\0"
"""The format's version is part of the checksum, so a cursor of another format is refused."""

_POSITION = re.compile(r"([a-z0-9-]{1,63})/([0-9A-Z]{26}|[a-z0-9-]{1,63})")


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size and start of a page, from the query. `cursor`: `next_cursor` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None


class Position(NamedTuple):
    """The last row of a page: a run by its id, a runner by its name."""

    project: str
    id: str


def encode_position(position: Position, *, query: str) -> str:
    """A cursor for the rows of `query` after `position`."""
    return encode_cursor(f"{position.project}/{position.id}", query=query)


def decode_position(cursor: str, *, query: str) -> Position:
    """The position in `cursor`. Raises `RequestFailed` (`invalid_cursor`)."""
    match = _POSITION.fullmatch(decode_cursor(cursor, query=query))
    if match is None:
        raise RequestFailed("invalid_cursor")
    return Position(match[1], match[2])


def encode_cursor(last: str, *, query: str) -> str:
    """A cursor for the rows of `query` after the row whose sort key is `last`."""
    text = last.encode()
    return urlsafe_b64encode(_check(text, query) + text).decode().rstrip("=")


def decode_cursor(cursor: str, *, query: str) -> str:
    """The sort key in `cursor`.

    Raises `RequestFailed` (`invalid_cursor`) for a cursor of another query, and for a changed one.
    """
    try:
        decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        last = decoded[_CHECK_BYTES:].decode()
    except ValueError:
        raise RequestFailed("invalid_cursor") from None
    is_key = 0 < len(last.encode()) <= MAX_POSITION_BYTES
    if not is_key or cursor != encode_cursor(last, query=query):
        raise RequestFailed("invalid_cursor")
    return last


def fitting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows that fit into one answer, at least one if `rows` has any."""
    used = 0
    for count, row in enumerate(rows):
        # Lambda's answer has the body as a JSON string, so each quote in it is escaped again.
        used += len(msgspec.json.encode(msgspec.json.encode(row).decode()))
        if used > ANSWER_BYTES and count:
            return rows[:count]
    return rows


def _check(text: bytes, query: str) -> bytes:
    return sha256(_FORMAT + query.encode() + b"\0" + text).digest()[:_CHECK_BYTES]
