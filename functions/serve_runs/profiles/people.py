"""The principals that a person in a query names: `me`, a subject, an e-mail, a principal."""

from collections.abc import Callable

import msgspec

from byline.identity.caller import MAX_PRINCIPAL_BYTES, Caller, principal_text
from serve_runs.errors import RequestFailed
from serve_runs.profiles.store import Profiles


class NamedPeople(msgspec.Struct, frozen=True):
    """The principals that a query names, as records have them.

    `are_more`: whether more principals have the e-mail address than were searched.
    """

    principals: tuple[str, ...]
    are_more: bool = False


def named_people(
    person: str,
    *,
    known_caller: Callable[[], Caller],
    profiles: Profiles,
    default_issuer: str,
    parameter: str = "person",
) -> NamedPeople:
    """The principals that `person` names, the value of `parameter`.

    It is `me` (`known_caller`), a principal, or a subject of the default issuer. A text like an
    e-mail address names its owners too. An unknown principal has no rows, so its list is empty.
    Raises `RequestFailed` (`invalid_parameter`).
    """
    if person == "me":
        return NamedPeople((principal_text(known_caller()),))
    is_principal = person.startswith(("user:", "application:", "unknown:"))
    principal = person if is_principal else f"user:{default_issuer}#{person}"
    if len(principal.encode()) > MAX_PRINCIPAL_BYTES:
        raise RequestFailed("invalid_parameter", f"`{parameter}` is too long.")
    if is_principal or "@" not in person:
        return NamedPeople((principal,))
    owners = profiles.find_by_email(person)
    others = (owner.text for owner in owners.principals)
    return NamedPeople(tuple(dict.fromkeys((principal, *others))), owners.are_more)
