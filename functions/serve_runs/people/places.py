"""The kinds of rows that give a principal something, and their places in its list."""

import re
from typing import Literal, NamedTuple, cast, get_args

from byline.tables.rows import Item
from serve_runs.errors import RequestFailed

Kind = Literal[
    "roles", "service_accounts", "registrations", "agent_permissions", "credential_readers", "runs"
]
"""Roles, service accounts that act for the person, registrations of an application, its permissions
to act as an agent, credentials that name it as a reader, live runs."""

KINDS: tuple[Kind, ...] = get_args(Kind)

OF_APPLICATIONS: frozenset[Kind] = frozenset(
    {"registrations", "agent_permissions", "credential_readers"}
)
"""These are in the application's own partition, so they need no index. People have none."""

_PLACE = re.compile(rf"({'|'.join(KINDS)})/([a-z0-9-]{{1,63}})/([0-9A-Za-z-]{{0,63}})")


class Place(NamedTuple):
    """The place of a row in a principal's list.

    `id`: of a run or a service account, a credential's name; empty for the other kinds, except old
    registrations.
    """

    kind: Kind
    project: str
    id: str

    @property
    def text(self) -> str:
        """The place as a cursor holds it."""
        return "/".join(self)


class Holding(NamedTuple):
    """One row that a principal has."""

    place: Place
    row: Item


def read_place(text: str | None) -> Place | None:
    """The place of a cursor, the reverse of `Place.text`; None for None. Raises `RequestFailed`."""
    if text is None:
        return None
    match = _PLACE.fullmatch(text)
    if match is None:
        raise RequestFailed("invalid_cursor")
    return Place(cast(Kind, match[1]), match[2], match[3])
