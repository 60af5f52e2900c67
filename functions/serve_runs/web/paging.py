"""Pages of a listing: cursors, and the number of rows that fit into one answer.

A cursor is not signed, because it grants no access. The request alone selects the rows; the cursor
names the row after which a page starts. A checksum detects a cursor of another query. A forged
cursor reaches only rows of a listing that its caller may read anyway.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Annotated, Any

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

_POSITION = re.compile(r"[a-z0-9-]{1,63}/([0-9A-Z]{26}|[a-z0-9-]{1,63})")


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size and start of a page, from the query. `cursor`: `next_cursor` of the page before."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None


def encode_position(project: str, last: str | None, *, query: str) -> str | None:
    """A cursor for the rows of `query` after the run or record with the id `last`, or after the
    runner or credential of this name; None for None."""
    return None if last is None else encode_cursor(f"{project}/{last}", query=query)


def decode_position(cursor: str | None, *, query: str) -> str | None:
    """The id or name in `cursor`; None for None. Raises `RequestFailed` (`invalid_cursor`)."""
    text = decode_cursor(cursor, query=query)
    if text is None:
        return None
    match = _POSITION.fullmatch(text)
    if match is None:
        raise RequestFailed("invalid_cursor")
    return match[1]


def encode_cursor(last: str | None, *, query: str) -> str | None:
    """A cursor for the rows of `query` after the row whose sort key is `last`; None for None."""
    if last is None:
        return None
    text = last.encode()
    return urlsafe_b64encode(_check(text, query) + text).decode().rstrip("=")


def decode_cursor(cursor: str | None, *, query: str) -> str | None:
    """The sort key in `cursor`; None for None, which is the first page.

    Raises `RequestFailed` (`invalid_cursor`) for a cursor of another query, and for a changed one.
    """
    if cursor is None:
        return None
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
