"""Sets: what the applies under one name made in a project. The service keeps them for everyone.

An apply adds its entries to the set before it makes them. So an apply that is killed
leaves nothing behind that no set has. A member that does not exist is removed by the next apply.
Once the service has answered that the apply made it, the member gets a mark. A person may have made
what a member without a mark names.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from byline_client.apply.kinds import Entry, path_of
from byline_client.apply.models import MODELS
from byline_client.apply.planning import Ask, Present, Step
from byline_client.conversation import ServiceCall
from byline_client.errors import Misused, RequestRefused, ServiceUnavailable

MEMBERS_A_CALL = 50
"""A body of the service has at most 64 KiB."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Member(NamedTuple):
    """A member of a set: the kind, and the key by which the service knows the entry."""

    kind: str
    key: str


def mark_of(entry: Entry) -> str:
    """The time at which an entry was created, which a later entry of its key does not have.

    The service has none for bindings.
    """
    return str(entry.get("created_at") or "granted")


class AppliedSet:
    """The set `name` of a project. Raises `ClientError` where the service cannot be asked.

    `members`: the marks of its members, empty for those without.
    """

    def __init__(self, project: str, name: str, ask: Ask) -> None:
        self.project = project
        self._ask = ask
        self._path = path_of("apply-sets", project, name)
        self.members = self._read()

    def change(
        self, *, add: Mapping[Member, str] = MappingProxyType({}), remove: Iterable[Member] = ()
    ) -> None:
        """Add members with their marks, and remove others. Without a difference nothing is sent."""
        added = sorted(add.items() - self.members.items())
        removed = sorted((set(remove) & set(self.members)) - set(add))
        while added or removed:
            new, gone = added[:MEMBERS_A_CALL], removed[:MEMBERS_A_CALL]
            body = {
                "add": [_body(member, mark) for member, mark in new],
                "remove": [_body(member) for member in gone],
            }
            self._ask(ServiceCall("POST", f"{self._path}/members", body=body, repeat=True))
            self.members.update(new)
            for member in gone:
                del self.members[member]
            added, removed = added[MEMBERS_A_CALL:], removed[MEMBERS_A_CALL:]

    def _read(self) -> dict[Member, str]:
        try:
            document = self._ask(ServiceCall("GET", self._path))
        except RequestRefused as refused:
            if refused.status in (403, 404):
                return {}
            raise
        try:
            found = {
                Member(str(each["kind"]), str(each["key"])): str(each.get("mark") or "")
                for each in document["members"]
            }
        except (AttributeError, TypeError, KeyError):
            raise ServiceUnavailable("The answer of the service is no apply set.") from None
        # A later version of the client may have written other kinds.
        return {member: mark for member, mark in found.items() if member.kind in MODELS}


class MemberDeletion(NamedTuple):
    """The deletion of a member. `doubt`: why a person may have made it; empty for no doubt."""

    member: Member
    call: ServiceCall
    doubt: str


class Pruning(NamedTuple):
    """The members of a set that no document describes: those to delete, and those that are gone."""

    deletions: list[MemberDeletion]
    gone: set[Member]


def pruning(applied: AppliedSet, steps: Iterable[Step], present: Present) -> Pruning:
    """The members of the set that the documents lack. Raises `ClientError`."""
    kept = {member for step in steps if (member := member_of(step)) is not None}
    deletions, gone = [], set()
    for member in sorted(set(applied.members) - kept, key=_last_kind_first):
        kind = present.kind(member.kind)
        entries = present.entries(applied.project, kind)
        entry = next((each for each in entries if kind.key(each) == member.key), None)
        mark = applied.members[member]
        if entry is None or mark not in ("", mark_of(entry)):
            gone.add(member)
        else:
            doubt = "" if mark else _doubt(entry)
            deletions.append(MemberDeletion(member, kind.deletion(applied.project, entry), doubt))
    return Pruning(deletions, gone)


def member_of(step: Step) -> Member | None:
    """The member that a document is; None where only the service knows its key."""
    kind, wanted = step.kind, step.wanted
    key = kind.key_of(wanted) if step.before is None else kind.key(step.before)
    return None if key is None else Member(wanted.document.kind, key)


def require_name_of_set(name: str, *, prune: bool) -> None:
    """Raise `Misused` for a name that no set can have, and for a pruning without a name.

    A name is never made up: two repositories have folders of one name, and would share a set.
    """
    if name and not _NAME.fullmatch(name):
        raise Misused("The name of a set has lower-case letters, digits and hyphens.")
    if prune and not name:
        raise Misused("--prune needs --set NAME, the name under which the files were applied.")


def _body(member: Member, mark: str = "") -> dict[str, str]:
    return {"kind": member.kind, "key": member.key, **({"mark": mark} if mark else {})}


def _doubt(entry: Entry) -> str:
    creator = entry.get("created_by")
    name = creator.get("name") if isinstance(creator, dict) else None
    facts = [str(entry["created_at"])] if entry.get("created_at") else []
    facts += [f"by {name}"] if name else []
    made = f", created {' '.join(facts)}" if facts else ""
    return f"perhaps made by a person{made}"


def _last_kind_first(member: Member) -> tuple[int, str]:
    return -list(MODELS).index(member.kind), member.key
