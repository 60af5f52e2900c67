"""An apply set as a row of `AccessTable`, and as the API shows it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from byline.tables.rows import Item, attributes
from serve_runs.access.projects import project_key
from serve_runs.apply_sets.requests import SetMember

type SetMembers = frozenset[SetMember]


def apply_set_key(project: str, name: str) -> Item:
    """The key of a set's row."""
    return project_key(project) | {"entry": {"S": f"apply-set#{name}"}}


def apply_set_item(
    project: str,
    name: str,
    members: Iterable[SetMember],
    *,
    created_at: str,
    updated_at: str,
    request_id: str,
) -> Item:
    """The row. Times are RFC 3339; `request_id` is Lambda's.

    The project is in its key alone: an attribute `project` would copy all members into the index
    `by-project` with each change.
    """
    texts = {
        "name": name,
        "members": msgspec.json.encode(sorted(members)).decode(),
        "created_at": created_at,
        "updated_at": updated_at,
        "last_request": request_id,
    }
    return apply_set_key(project, name) | attributes(texts)


def members_of(row: Item | None) -> SetMembers:
    """The members of a row; none without a row."""
    if row is None:
        return frozenset()
    return msgspec.json.decode(row["members"]["S"], type=frozenset[SetMember])


def apply_set_json(row: Item, *, project: str) -> dict[str, Any]:
    """The set as the API shows it."""
    return {
        "name": row["name"]["S"],
        "project": project,
        "members": msgspec.json.decode(row["members"]["S"]),
        "created_at": row["created_at"]["S"],
        "updated_at": row["updated_at"]["S"],
    }
