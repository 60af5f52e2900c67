"""Deleting a project in steps that can stop anywhere and be repeated.

Each step ends one thing, with its own audit record, conditional on its row. The rows themselves are
the state: what a request did not end is found by the next one. Last, the project's own row becomes
a tombstone, which keeps the name from everybody else.

The roles of whoever deletes the project end together with that write. Until then it can repeat a
request, and afterwards it has no right.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from byline.caching import Clock
from byline.identity.caller import Principal, principal_of, read_principal
from byline.refresh.token_rows import TokenRow, UnreadableRow
from byline.tables.rows import Item, text_of
from serve_runs.apply_sets.store import ApplySetStore
from serve_runs.audit.trail import ActionContext, AuditedResource
from serve_runs.errors import RequestFailed
from serve_runs.people.endings import Endings
from serve_runs.projects.contents import CONTENTS, RIGHTS, Content, Contents, Part
from serve_runs.projects.store import ProjectStore
from serve_runs.runners.store import RunnerStore

if TYPE_CHECKING:
    from collections.abc import Callable

logger = Logger(service="byline")

STEPS = 100
SECONDS = 10.0
"""The most steps of one request, and the time after which it starts none."""

SETTLING_SECONDS = 70
"""How long the last request may take that had its rights read before they ended: twice the longest
one, because clocks differ, and `SECONDS`. What it writes is found after that time."""


class Deleted(msgspec.Struct):
    """The numbers of things that a request ended, by kind.

    `wait`: after how many seconds to send it again; None where the project is deleted.
    `has_ended_rights`: whether the request wrote that rights end.
    """

    ended: Counter[Content] = msgspec.field(default_factory=Counter)
    wait: int | None = None
    has_ended_rights: bool = False


class _Stopped(Exception):
    """The request has taken its steps or its time."""


class _Steps:
    """Counts the steps of a request. Raises `_Stopped` for one too many, and when time is over."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._until = now() + SECONDS
        self._left = STEPS

    def take(self) -> None:
        if not self._left or self._now() >= self._until:
            raise _Stopped
        self._left -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Ends what `contents` finds. `announce` tells the refresher of a token without runners."""

    store: ProjectStore
    contents: Contents
    endings: Endings
    runners: RunnerStore
    apply_sets: ApplySetStore
    announce: "Callable[[TokenRow], None]"
    now: Clock

    def delete(self, project: str, action: ActionContext, *, cancel_runs: bool) -> Deleted:
        """Delete a project, as far as steps and time allow.

        Raises `RequestFailed`: `runs_live` with their number, unless they are to be cancelled, and
        `project_exists` where the project is created again meanwhile.
        """
        if not cancel_runs and (number := self.contents.count_live_runs(project)):
            raise RequestFailed("runs_live", members={"live_runs": number})
        outcome, caller = Deleted(), principal_of(action.caller)
        row = self.store.begin_deletion(project, action=action)
        try:
            is_empty = self._end_all(
                project, row, action, keep=caller, outcome=outcome, cancel_runs=cancel_runs
            )
        except _Stopped:
            is_empty = False
        outcome.wait = self._settling(row, outcome) if is_empty else 1
        if outcome.wait is None:
            last = self.endings.all_roles(project, caller, action=action)
            if not self.store.finish_deletion(project, row, last, action=action):
                # Another request gave or ended a right since the row was read.
                self.store.require_same(project, row)
                outcome.wait = 1
            elif last:
                outcome.ended["roles"] += len(last) - 1
        return outcome

    def _settling(self, row: Item, outcome: Deleted) -> int | None:
        """How long to wait for requests under way; None where none can be."""
        if outcome.has_ended_rights:
            return SETTLING_SECONDS
        ended_at = text_of(row, "rights_ended_at")
        if ended_at is None:
            return None
        return None if self.store.is_past(ended_at, SETTLING_SECONDS) else 10

    def _end_all(
        self,
        project: str,
        row: Item,
        action: ActionContext,
        *,
        keep: Principal,
        outcome: Deleted,
        cancel_runs: bool,
    ) -> bool:
        """End everything, and list it again until nothing is found. False where something stays."""
        steps = _Steps(self.now)
        while True:
            found = ended = 0
            for kind in CONTENTS:
                after: Item | None = None
                while True:
                    steps.take()
                    parts, after = self.contents.page(kind, project, keep=keep, after=after)
                    found += len(parts)
                    if parts:
                        self.store.require_same(project, row)
                        _require_cancelled(kind, parts, cancel_runs=cancel_runs)
                    for part in parts:
                        steps.take()
                        if kind in RIGHTS and not outcome.has_ended_rights:
                            self.store.note_ended_rights(project, row)
                            outcome.has_ended_rights = True
                        count = self._end(project, part, action)
                        outcome.ended[kind] += count
                        ended += count
                    if after is None:
                        break
            if not found:
                return True
            if not ended:
                return False

    def _end(self, project: str, part: Part, action: ActionContext) -> int:
        """End a part of the project. Returns how many things ended: a principal has many roles."""
        kind, name, row = part
        match kind:
            case "roles":
                principal = read_principal(name)
                ends = [
                    self.endings.end_role(project, principal, role, action=action)
                    for role in sorted(row["roles"]["SS"])
                ]
                ended: int = sum(end != "absent" for end in ends)
            case "agents":
                ended = self.endings.end_agent(project, name, of=None, action=action)
            case "service_accounts":
                ended = self.endings.end_account(project, name, of=None, action=action)
            case "runs":
                ended = self.endings.end_run(project, name, action=action)
            case "runners":
                ended = self._delete_runner(project, name, action)
            case "credentials":
                ended = self._delete_credential(project, name, action)
            case "apply_sets":
                resource = AuditedResource(project, "apply_set", name)
                record = self.endings.audit.record(action, "write_apply_set", resource)
                ended = self.apply_sets.delete(project, row, record=record)
        return ended

    def _delete_runner(self, project: str, name: str, action: ActionContext) -> bool:
        try:
            retired = self.runners.delete(project, name, action=action)
        except RequestFailed as failure:
            return _is_gone(failure)
        except UnreadableRow as unreadable:
            logger.error("row unreadable", row=str(unreadable))
            return False
        if retired is not None:
            self.announce(retired)
        return True

    def _delete_credential(self, project: str, name: str, action: ActionContext) -> bool:
        try:
            self.endings.credentials.delete(project, name, action=action)
        except RequestFailed as failure:
            return _is_gone(failure)
        except ClientError:
            return False  # AWS refused to delete the secret: the marker in its row stays
        return True


def _require_cancelled(kind: Content, parts: list[Part], *, cancel_runs: bool) -> None:
    """Raise `RequestFailed` (`runs_live`) for runs that were created after the count."""
    if kind == "runs" and not cancel_runs:
        raise RequestFailed("runs_live", members={"live_runs": len(parts)})


def _is_gone(failure: RequestFailed) -> bool:
    """False for what another request changes at present. Raises other failures."""
    if failure.reason not in {"not_found", "store_unavailable"}:
        raise failure
    return False
