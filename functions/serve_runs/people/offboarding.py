"""Ending all that a principal has, in steps that can stop anywhere and be repeated.

Each step is one transaction with its own audit record, conditional on the row that it ends. The
rows themselves are the state: what a request did not end is found by the next one.
"""

from collections import Counter
from dataclasses import dataclass

import msgspec

from byline.caching import Clock
from byline.identity.caller import Principal
from serve_runs.audit.trail import ActionContext
from serve_runs.people.endings import Endings
from serve_runs.people.holdings import Holdings
from serve_runs.people.places import Holding, Kind, Place

STEPS = 100
SECONDS = 10.0
"""The most steps of one request, and the time after which it starts none."""

PAGE = 25


class Ending(msgspec.Struct):
    """The numbers of things that a request ended, by kind, and what is left.

    `without_admin`: the projects whose last admin it removed. `left`: the first holdings that
    remain. `more`: where the others follow. `is_finished`: whether a listing found nothing more.
    """

    ended: Counter[Kind] = msgspec.field(default_factory=Counter)
    without_admin: list[str] = msgspec.field(default_factory=list)
    left: list[Holding] = msgspec.field(default_factory=list)
    more: Place | None = None
    is_finished: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Offboarding:
    """Ends what `holdings` finds."""

    holdings: Holdings
    endings: Endings
    now: Clock

    def end_all(self, principal: Principal, action: ActionContext) -> Ending:
        """End roles first, then what lets an application act for people, then runs, as far as steps
        and time allow.

        Roles come first, so that no new run and no new registration follows. Everything is listed
        again from the start until nothing is found, because something may be granted meanwhile.
        """
        outcome, steps, until = Ending(), 0, self.now() + SECONDS
        place: Place | None = None
        is_empty = True
        while steps < STEPS and self.now() < until:
            found, place = self.holdings.page(principal, limit=PAGE, after=place)
            for holding in found:
                if steps >= STEPS or self.now() >= until:
                    break
                steps += self._end(holding, principal, action, outcome)
            steps += 1  # a page without holdings takes time too
            is_empty = is_empty and not found
            if place is None:
                if is_empty:
                    return outcome  # all of it was listed from the start, and nothing was found
                is_empty = True
        outcome.left, outcome.more = self.holdings.page(principal, limit=PAGE, after=None)
        outcome.is_finished = False
        return outcome

    def _end(
        self, holding: Holding, principal: Principal, action: ActionContext, outcome: Ending
    ) -> int:
        """End one holding, and return the number of steps that it took."""
        (kind, project, id_), row, endings = holding.place, holding.row, self.endings
        match kind:
            case "roles":
                return sum(
                    self._revoke(project, principal, role, action, outcome)
                    for role in sorted(row["roles"]["SS"])
                )
            case "service_accounts" | "registrations":
                # The place of a registration of an earlier version does not have its project.
                of = row["project"]["S"]
                ended = endings.end_account(of, row["id"]["S"], of=principal, action=action)
            case "agent_permissions":
                ended = endings.end_agent(project, row["name"]["S"], of=principal, action=action)
            case "credential_readers":
                ended = endings.end_reading(project, id_, of=principal, action=action)
            case "runs":
                ended = endings.end_run(project, id_, action=action)
        outcome.ended[kind] += ended
        return 1

    def _revoke(
        self,
        project: str,
        principal: Principal,
        role: str,
        action: ActionContext,
        outcome: Ending,
    ) -> int:
        revoked = self.endings.end_role(project, principal, role, action=action)
        outcome.ended["roles"] += revoked != "absent"
        if revoked == "last_admin":
            outcome.without_admin.append(project)
        return 1
