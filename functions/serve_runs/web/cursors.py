"""Where a listing goes on: a position, bound to the query that it belongs to.

A cursor is not signed, and need not be: which rows are read follows from the request alone, and
the cursor only says after which of them. The check below tells a client that mixed up its queries
or mangled a cursor; whoever forges one moves about in a listing that is open to them anyway.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import NamedTuple

from byline.identity.caller import MAX_PRINCIPAL_BYTES
from serve_runs.web.problems import Problem

_CHECK_BYTES = 9
_POSITION = re.compile(r"([a-z0-9-]{1,63})/([0-9A-Z]{26}|[a-z0-9-]{1,63})")


class Position(NamedTuple):
    """The last row that was listed: a run by its id, a runner by its name."""

    project: str
    id: str


def encode_cursor(position: Position, *, query: str) -> str:
    """A cursor for the rest of `query`'s rows after `position`."""
    return encode_text(f"{position.project}/{position.id}", query=query)


def decode_cursor(cursor: str, *, query: str) -> Position:
    """The position in `cursor`. Raises `Problem` 400 for another query's, or a mangled one."""
    match = _POSITION.fullmatch(decode_text(cursor, query=query))
    if match is None:
        raise _invalid()
    return Position(match[1], match[2])


def encode_text(last: str, *, query: str) -> str:
    """A cursor for the rest of a partition's rows after the one whose sort key is `last`."""
    text = last.encode()
    return urlsafe_b64encode(_check(text, query) + text).decode().rstrip("=")


def decode_text(cursor: str, *, query: str) -> str:
    """The sort key in `cursor`. Raises `Problem` 400 for another query's, or a mangled one.

    The longest that there is ends in a principal: what is longer, somebody forged, and DynamoDB
    would not take it for a key.
    """
    try:
        decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        last = decoded[_CHECK_BYTES:].decode()
    except ValueError:
        raise _invalid() from None
    if not 0 < len(last.encode()) <= MAX_PRINCIPAL_BYTES or cursor != encode_text(
        last, query=query
    ):
        raise _invalid()
    return last


def _check(text: bytes, query: str) -> bytes:
    return sha256(b"byline cursor\0" + query.encode() + b"\0" + text).digest()[:_CHECK_BYTES]


def _invalid() -> Problem:
    return Problem(
        400, "invalid_cursor", "The cursor is not one that this query answered with: start anew."
    )
