"""The table of routes in docs/security-model.md."""

from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "security-model.md"
NO_DECISION = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table; `roles` are the roles that permit the action."""

    method: str
    path: str
    action: str
    kind: str
    roles: frozenset[str]
    also: str


def read_table() -> list[Row]:
    """The rows of the table of routes."""
    section = DOCUMENT.read_text().partition("### Every route")[2].partition("\n## ")[0]
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    roles = [name.strip("`") for name in head[3:-1]]
    rows = []
    for route, action, kind, *ticks, also in lines:
        method, path = route.strip("`").split(" ")
        permitting = {role for role, tick in zip(roles, ticks, strict=True) if tick}
        rows.append(Row(method, path, action.strip("`"), kind, frozenset(permitting), also))
    return rows


TABLE = read_table()
DECIDED = [row for row in TABLE if row.action != NO_DECISION]


def route_label(row: Row) -> str:
    """A route's method, path and action, as a test id."""
    return f"{row.method} {row.path} {row.action}"
