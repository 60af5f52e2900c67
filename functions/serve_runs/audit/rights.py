"""The rights that a change gives or takes away, as its audit record has them."""

from collections.abc import Iterable

import msgspec

from byline.identity.caller import Principal, read_principal
from byline.tables.rows import Item
from serve_runs.access.entries import expires_at


def given_rights(
    principal: Principal,
    roles: Iterable[str],
    *,
    row: Item | None = None,
    acts_for: Principal | None = None,
) -> Item:
    """The attribute of a record: the principal with the rights, and its roles.

    `row`: the row that gives them, which may end by itself. `acts_for`: the person for whom a
    service account acts. Bounded, as the requests that name these are.
    """
    rights = {
        "principal": principal.text,
        "roles": sorted(roles),
        "expires_at": None if row is None else expires_at(row),
        "acts_for": None if acts_for is None else acts_for.text,
    }
    return {"rights": {"S": msgspec.json.encode(rights).decode()}}


def account_rights(row: Item) -> Item:
    """The attribute of the record of a service account with this row."""
    application, person = read_principal(row["principal"]["S"]), read_principal(row["person"]["S"])
    return given_rights(application, [row["role"]["S"]], row=row, acts_for=person)


def agent_rights(row: Item) -> Item:
    """The attribute of the record of an agent's permission with this row."""
    return given_rights(read_principal(row["principal"]["S"]), row["roles"]["SS"], row=row)
