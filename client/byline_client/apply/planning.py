"""The plan of an apply: each document against what the service has, before anything is written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from byline_client.apply.documents import Wanted
from byline_client.apply.kinds import Entry, Kind, path_of
from byline_client.apply.located import Faults
from byline_client.apply.named_kinds import Agents, Credentials, Runners
from byline_client.apply.principals import RoleBindings, ServiceAccounts
from byline_client.conversation import ServiceCall
from byline_client.errors import ClientError
from byline_client.listing import listed

MOST = 10_000
Ask = Callable[[ServiceCall], Any]


@dataclass(frozen=True)
class MemberChange:
    """A member that the document says otherwise than the service."""

    member: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Step:
    """The planned change of one document.

    `compare`: the service is asked to have the document, and decides whether it changes anything.
    """

    action: Literal["create", "change", "compare", "keep"]
    wanted: Wanted
    kind: Kind
    before: Entry | None
    changes: tuple[MemberChange, ...] = ()


class Present:
    """The entries at the service. Each list is read once."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self._caller: tuple[str, str] | None = None
        self._lists: dict[tuple[str, str], list[Entry]] = {}

    def kind(self, name: str) -> Kind:
        """A kind by its name in documents. Raises `ClientError`."""
        if name == "ServiceAccount":
            return ServiceAccounts(self.caller)
        return _KINDS[name]

    @property
    def caller(self) -> tuple[str, str]:
        """Issuer and subject of who applies. Raises `ClientError`."""
        if self._caller is None:
            try:
                who = self.ask(ServiceCall("GET", "/v1/whoami"))["who"]["executed_by"]
                self._caller = str(who["issuer"]), str(who["subject"])
            except (TypeError, KeyError):
                raise ClientError("The answer of the service does not say who you are.") from None
        return self._caller

    def entries(self, project: str, kind: Kind) -> list[Entry]:
        """The entries of a kind in a project. Raises `ClientError`."""
        key = project, kind.segment
        if key not in self._lists:
            path = path_of(kind.segment, project)
            found = list(listed(self.ask, path, kind.member, most=MOST))
            if len(found) >= MOST:
                raise ClientError(f"Project {project} has {MOST} {kind.segment} or more.")
            self._lists[key] = kind.entries(found)
        return self._lists[key]


_KINDS: Mapping[str, Kind] = {
    "RoleBinding": RoleBindings(),
    "Agent": Agents(),
    "Credential": Credentials(),
    "Runner": Runners(),
}


def planned(documents: Iterable[Wanted], present: Present) -> list[Step]:
    """The steps for the documents, in their order. Raises `ClientError`, before any is taken."""
    faults, steps = Faults(), []
    seen: dict[tuple[str, str, str], Wanted] = {}
    for wanted in documents:
        kind = present.kind(wanted.document.kind)
        before = kind.find(wanted, present.entries(wanted.project, kind))
        step = _step(wanted, kind, before)
        if isinstance(kind, Agents):
            _require_same_agent(step, faults)
        if before is not None:
            key = wanted.project, kind.segment, kind.key(before)
            if key in seen and kind.is_certain(wanted):
                faults.add(wanted.place, f"This is the same as {seen[key].written}.")
            seen.setdefault(key, wanted)
        steps.append(step)
    faults.raise_any()
    return steps


def _step(wanted: Wanted, kind: Kind, before: Entry | None) -> Step:
    if before is None:
        fields = kind.fields(wanted).items()
        changes = tuple(
            MemberChange(name, None, value) for name, value in fields if value is not None
        )
        return Step("create", wanted, kind, None, changes)
    shown = kind.shown(before)
    changes = tuple(
        MemberChange(name, shown[name], value)
        for name, value in kind.fields(wanted).items()
        if name in shown and shown[name] != value
    )
    if changes:
        return Step("change", wanted, kind, before, changes)
    return Step("keep" if kind.is_certain(wanted) else "compare", wanted, kind, before)


def _require_same_agent(step: Step, faults: Faults) -> None:
    for change in step.changes:
        if step.action == "change" and change.member in ("subject", "issuer"):
            faults.add(
                step.wanted.place,
                f"{step.wanted.written} has the {change.member} `{change.before}` at the service."
                " It cannot be changed: delete the agent first, or choose another name.",
            )
