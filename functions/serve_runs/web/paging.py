"""Pages of a listing: how many rows, where to go on, and how many fit into one answer.

A cursor is not signed, and need not be. Which rows are read follows from the request alone; the
cursor only says after which of them. Its check tells a client that mixed up its queries. A forged
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
"""The longest position: a sort key has at most 1,024 bytes, of which a prefix may take the rest.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

ANSWER_BYTES = 900_000
"""A load balancer takes 1 MB of JSON from a function; the rest is for what surrounds the rows."""

_CHECK_BYTES = 9
_POSITION = re.compile(r"([a-z0-9-]{1,63})/([0-9A-Z]{26}|[a-z0-9-]{1,63})")


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a listing, from the query. `cursor`: the `next_cursor` of the page before."""

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
    """The sort key in `cursor`. Raises `RequestFailed` (`invalid_cursor`).

    That is a cursor of another query, a changed one, or one that is too long for a key.
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
    """As many of `rows` as fit into one answer, at least the first."""
    used = 0
    for count, row in enumerate(rows):
        # An answer carries its body as text, so every quote in it is escaped once more.
        used += len(msgspec.json.encode(msgspec.json.encode(row).decode()))
        if used > ANSWER_BYTES and count:
            return rows[:count]
    return rows


def _check(text: bytes, query: str) -> bytes:
    return sha256(b"byline cursor\0" + query.encode() + b"\0" + text).digest()[:_CHECK_BYTES]
