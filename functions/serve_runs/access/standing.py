"""For whom an application acts in a project, as a row of `AccessTable` or its own token says."""

from collections.abc import Mapping, Sequence

import msgspec

from byline.identity.caller import Caller, Principal, principal_of, read_principal
from byline.tables.rows import Item, is_expired


class ActsFor(msgspec.Struct, frozen=True):
    """The person that an application acts for in a project.

    `identity`: the person as JSON of a `StoredIdentity`, at the time of registration, or as the
    caller's own token names it. `roles`: those of the registration, which the application has
    beside its own; those of the agent's permission, which are all that it has.
    """

    person: Principal
    identity: str
    roles: frozenset[str] = frozenset()


def represented(
    caller: Caller | None, rows: Mapping[str, Item], projects: Sequence[str], *, now: float
) -> dict[str, ActsFor]:
    """The person that an application acts for, by project; without those where it acts for none.

    With a token that names a person it acts for this person everywhere, with the roles of its
    permission as an agent. With its own token it acts for whoever registered it in the project.
    `rows`: the application's rows by sort key.
    """
    person = None if caller is None else caller.represents
    if person is None:
        found = {project: _registered(rows, project, now=now) for project in projects}
        return {project: one for project, one in found.items() if one is not None}
    return {
        project: ActsFor(
            principal_of(person), person.stored or "", _allowed(rows, project, now=now)
        )
        for project in projects
    }


def registration_row(rows: Mapping[str, Item], project: str) -> Item | None:
    """The row of an application's registration in `project`; None where there is none.

    Earlier versions wrote one row for all projects, with the sort key `acts-for`. It counts in the
    project that it names.
    """
    new, old = rows.get(f"acts-for#{project}"), rows.get("acts-for")
    if new is None and old is not None and old["project"]["S"] == project:
        return old
    return new


def _registered(rows: Mapping[str, Item], project: str, *, now: float) -> ActsFor | None:
    row = registration_row(rows, project)
    if row is None or is_expired(row, now=now):
        return None
    roles = frozenset({row["role"]["S"]})
    return ActsFor(read_principal(row["person"]["S"]), row["identity"]["S"], roles)


def _allowed(rows: Mapping[str, Item], project: str, *, now: float) -> frozenset[str]:
    """The roles of an agent's permission in a project; empty without one."""
    row = rows.get(f"agent#{project}")
    if row is None or is_expired(row, now=now):
        return frozenset()
    return frozenset(row["roles"]["SS"])
