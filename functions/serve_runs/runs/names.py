"""Names for rows that have a subject alone: of tokens that told no more than that.

A row is what was known when it was written, and stays so. What the people of it are called by now
is added when it is shown.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from byline.identity.caller import Principal, read_principal
from byline.tables.items import Item
from serve_runs.profiles.store import People
from serve_runs.runs.items import IDENTITIES, run_json


def named_runs(rows: list[Item], *, people: People) -> list[dict[str, Any]]:
    """The runs as the API shows them. At most one call, and none where every row has its names."""
    shown = [run_json(row) for row in rows]
    nameless = [
        (run, field, principal)
        for row, run in zip(rows, shown, strict=True)
        for field, principal in _nameless(row, run)
    ]
    called = people.called(principal for _, _, principal in nameless)
    for run, field, principal in nameless:
        if principal in called:
            run[field] = msgspec.to_builtins(called[principal])
    return shown


def _nameless(row: Item, run: dict[str, Any]) -> Iterable[tuple[str, Principal]]:
    for field in IDENTITIES:
        user = (run[field] or {}).get("user")
        if user is not None and "spec" not in user:
            principal = _principal(row, field, user["id"]["subject"])
            if principal is not None:
                yield field, principal


def _principal(row: Item, field: str, subject: str) -> Principal | None:
    """Whose subject it is; None where the row does not tell the issuer, and nobody guesses."""
    if field == "on_behalf_of":
        return read_principal(row["person"]["S"]) if "person" in row else None
    column = "creator_issuer" if field == "executed_by" else f"{field}_issuer"
    return Principal("user", row[column]["S"], subject) if column in row else None
