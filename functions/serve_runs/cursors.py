"""Where a listing goes on: a position, bound to the query that it belongs to.

A cursor is not signed, and need not be: which rows are read follows from the request alone, and
the cursor only says after which of them. The check below tells a client that mixed up its queries
or mangled a cursor; whoever forges one moves about in a listing that is open to them anyway.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import NamedTuple

from problems import Problem

_CHECK_BYTES = 9
_POSITION = re.compile(r"([a-z0-9-]{1,63})/([0-9A-Z]{26}|[a-z0-9-]{1,63})")


class Position(NamedTuple):
    """The last row that was listed: a run by its id, a runner by its name."""

    project: str
    id: str


def encode_cursor(position: Position, *, query: str) -> str:
    """A cursor for the rest of `query`'s rows after `position`."""
    text = f"{position.project}/{position.id}".encode()
    return urlsafe_b64encode(_check(text, query) + text).decode().rstrip("=")


def decode_cursor(cursor: str, *, query: str) -> Position:
    """The position in `cursor`. Raises `Problem` 400 for another query's, or a mangled one."""
    try:
        decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        text = decoded[_CHECK_BYTES:].decode("ascii")
    except ValueError:
        raise _invalid() from None
    match = _POSITION.fullmatch(text)
    if match is None:
        raise _invalid()
    position = Position(match[1], match[2])
    if cursor != encode_cursor(position, query=query):
        raise _invalid()
    return position


def _check(text: bytes, query: str) -> bytes:
    return sha256(b"byline cursor\0" + query.encode() + b"\0" + text).digest()[:_CHECK_BYTES]


def _invalid() -> Problem:
    return Problem(
        400, "invalid_cursor", "The cursor is not one that this query answered with: start anew."
    )
