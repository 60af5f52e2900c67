"""A project as the API shows it."""

from collections.abc import Iterable
from typing import Any

from byline.identity.caller import who
from byline.tables.rows import Item, text_of
from serve_runs.projects.contents import CONTENTS
from serve_runs.projects.deletion import Deleted


def project_json(
    name: str, row: Item | None, roles: Iterable[str], *, is_admin: bool
) -> dict[str, Any]:
    """The project with the caller's roles. `row`: the project's own row, if it has one.

    `is_admin`: whether `ProjectAdmins` names the caller. Rows of earlier versions do not say who
    created the project, and when.
    """
    row = row or {}
    return {
        "name": name,
        "created_at": text_of(row, "created_at"),
        "created_by": who(text_of(row, "created_by"), issuer=text_of(row, "created_by_issuer")),
        "deleted_at": text_of(row, "deleted_at"),
        "roles": sorted(roles),
        "project_admin": is_admin,
    }


def deletion_json(name: str, deleted: Deleted) -> dict[str, Any]:
    """The answer to a deletion: the numbers of ended things, and when to send it again."""
    return {
        "name": name,
        "complete": deleted.wait is None,
        "retry_after_seconds": deleted.wait,
        "ended": {kind: deleted.ended[kind] for kind in CONTENTS},
    }
