"""Sets: what the applies under one name made in a project. The service keeps them for everyone.

A set is told what an apply is about to make before the apply makes it. So an apply that is killed
leaves nothing behind that no set has. A member that does not exist is removed by the next apply.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from byline_client.apply.files import STANDARD_INPUT
from byline_client.apply.kinds import path_of
from byline_client.apply.models import MODELS
from byline_client.apply.planning import Ask, Present, Step
from byline_client.conversation import ServiceCall
from byline_client.errors import Misused, RequestRefused, ServiceUnavailable

MEMBERS_A_CALL = 50
"""A body of the service has at most 64 KiB."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OTHERS = re.compile(r"[^a-z0-9]+")


class Member(NamedTuple):
    """A member of a set: the kind, and the key by which the service knows the entry."""

    kind: str
    key: str


class AppliedSet:
    """The set `name` of a project. Raises `ClientError` where the service cannot be asked."""

    def __init__(self, project: str, name: str, ask: Ask) -> None:
        self.project = project
        self._ask = ask
        self._path = path_of("apply-sets", project, name)
        self.members = self._read()

    def change(self, *, add: Iterable[Member] = (), remove: Iterable[Member] = ()) -> None:
        """Add and remove members. Without a difference nothing is sent."""
        added = sorted(set(add) - self.members)
        removed = sorted((set(remove) & self.members) - set(added))
        while added or removed:
            now = {"add": added[:MEMBERS_A_CALL], "remove": removed[:MEMBERS_A_CALL]}
            body = {
                name: [{"kind": kind, "key": key} for kind, key in members]
                for name, members in now.items()
            }
            self._ask(ServiceCall("POST", f"{self._path}/members", body=body, repeat=True))
            self.members = (self.members | set(now["add"])) - set(now["remove"])
            added, removed = added[MEMBERS_A_CALL:], removed[MEMBERS_A_CALL:]

    def _read(self) -> set[Member]:
        try:
            document = self._ask(ServiceCall("GET", self._path))
        except RequestRefused as refused:
            if refused.status in (403, 404):
                return set()
            raise
        try:
            found = {Member(str(each["kind"]), str(each["key"])) for each in document["members"]}
        except (TypeError, KeyError):
            raise ServiceUnavailable("The answer of the service is no apply set.") from None
        # A later version of the client may have written other kinds.
        return {member for member in found if member.kind in MODELS}


class Pruning(NamedTuple):
    """The members of a set that no document describes: those to delete, and those that are gone."""

    deletions: list[tuple[Member, ServiceCall]]
    gone: set[Member]


def pruning(applied: AppliedSet, steps: Iterable[Step], present: Present) -> Pruning:
    """What an apply of the documents leaves over. Raises `ClientError`."""
    kept = {member for step in steps if (member := member_of(step)) is not None}
    deletions, gone = [], set()
    for member in sorted(applied.members - kept, key=_last_kind_first):
        kind = present.kind(member.kind)
        entries = present.entries(applied.project, kind)
        entry = next((each for each in entries if kind.key(each) == member.key), None)
        if entry is None:
            gone.add(member)
        else:
            deletions.append((member, kind.deletion(applied.project, entry)))
    return Pruning(deletions, gone)


def member_of(step: Step) -> Member | None:
    """The member that a document is; None where only the service knows its key."""
    kind, wanted = step.kind, step.wanted
    key = kind.key_of(wanted) if step.before is None else kind.key(step.before)
    return None if key is None else Member(wanted.document.kind, key)


def name_of_set(given: str, source: str, *, is_needed: bool) -> str:
    """The name of the set: the given one, or that of the file or folder without its ending.

    Raises `Misused`. `is_needed`: whether the name must be clear, because the set is pruned.
    """
    if given:
        if not _NAME.fullmatch(given):
            raise Misused("The name of a set has lower-case letters, digits and hyphens.")
        return given
    path = Path(source).resolve()
    is_file = source != STANDARD_INPUT
    name = _OTHERS.sub("-", (path.name if path.is_dir() else path.stem).lower()).strip("-")
    if is_file and _NAME.fullmatch(name):
        return name
    if is_needed:
        raise Misused("Name the set with --set: its files have no name for it.")
    return "unnamed"


def _last_kind_first(member: Member) -> tuple[int, str]:
    return -list(MODELS).index(member.kind), member.key
