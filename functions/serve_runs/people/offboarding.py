"""Ending all that a principal has, in steps that can stop anywhere and be repeated.

Each step is one transaction with its own audit record, conditional on the row that it ends. The
rows themselves are the state: what a request did not end is found by the next one.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from byline.caching import Clock
from byline.identity.caller import Principal, read_principal
from serve_runs.agents.store import AgentStore
from serve_runs.agents.views import agent_resource
from serve_runs.audit.rights import account_rights, agent_rights, given_rights
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.credentials.readers import Readers
from serve_runs.credentials.store import CredentialStore
from serve_runs.errors import RequestFailed
from serve_runs.people.holdings import Holdings
from serve_runs.people.places import Holding, Kind, Place
from serve_runs.role_bindings.store import RoleStore
from serve_runs.role_bindings.views import binding_resource
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import RunStore
from serve_runs.service_accounts.store import ATTEMPTS, ServiceAccountStore

if TYPE_CHECKING:
    from serve_runs.service_accounts.grants import Grants

STEPS = 100
SECONDS = 10.0
"""The most steps of one request, and the time after which it starts none."""

PAGE = 25


class Ending(msgspec.Struct):
    """What a request ended, by kind, and what it left.

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
    roles: RoleStore
    accounts: ServiceAccountStore
    agents: AgentStore
    credentials: CredentialStore
    runs: RunStore
    audit: AuditTrail
    grants: "Grants"
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
        kind, project, id_ = holding.place
        match kind:
            case "roles":
                return sum(
                    self._revoke(project, principal, role, action, outcome)
                    for role in sorted(holding.row["roles"]["SS"])
                )
            case "service_accounts" | "registrations":
                # The place of a registration of an earlier version does not have its project.
                of = holding.row["project"]["S"]
                ended = self._delete(of, holding.row["id"]["S"], principal, action)
            case "agent_permissions":
                ended = self._disallow(project, holding.row["name"]["S"], principal, action)
            case "credential_readers":
                ended = self._unbind(project, id_, principal, action)
            case "runs":
                ended = self._cancel(project, id_, action)
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
        resource = binding_resource(project, principal, role)
        rights = given_rights(principal, [role])
        record = self.audit.record(action, "revoke_role", resource, details=rights)
        revoked = self.roles.withdraw(project, principal, role, record=record)
        outcome.ended["roles"] += revoked != "absent"
        if revoked == "last_admin":
            outcome.without_admin.append(project)
        return 1

    def _delete(
        self, project: str, account_id: str, principal: Principal, action: ActionContext
    ) -> bool:
        """Delete a registration; False where it has ended meanwhile, or keeps changing."""
        resource = AuditedResource(project, "service_account", account_id)
        for _ in range(ATTEMPTS):
            row = self.accounts.find(project, account_id)
            if row is None or principal.text not in (row["person"]["S"], row["principal"]["S"]):
                return False
            record = self.audit.record(
                action, "delete_service_account", resource, details=account_rights(row)
            )
            person = read_principal(row["person"]["S"])
            revocation = self.grants.revocation(row, person, request_id=action.request_id)
            if self.accounts.delete(row, record=record, revocation=revocation):
                return True
        return False

    def _disallow(self, project: str, name: str, agent: Principal, action: ActionContext) -> bool:
        """Delete an agent's permission; False where it has ended meanwhile, or keeps changing."""
        for _ in range(ATTEMPTS):
            row = self.agents.find(project, name)
            if row is None or row["principal"]["S"] != agent.text:
                return False
            resource, rights = agent_resource(project, name), agent_rights(row)
            record = self.audit.record(action, "delete_agent", resource, details=rights)
            if self.agents.delete(row, record=record):
                return True
        return False

    def _unbind(
        self, project: str, credential: str, application: Principal, action: ActionContext
    ) -> bool:
        """Remove an application from a credential's readers; False where it is none meanwhile."""

        def others(readers: Readers | None) -> Readers | None:
            return readers and tuple(each for each in readers if each.principal != application)

        try:
            _, outcome = self.credentials.bind(project, credential, readers=others, action=action)
        except RequestFailed as failure:
            if failure.reason in {"not_found", "store_unavailable"}:
                return False
            raise
        return outcome == "bound"

    def _cancel(self, project: str, run_id: str, action: ActionContext) -> bool:
        """Cancel a run; False where it has ended meanwhile, or keeps changing."""
        try:
            self.runs.change(project, run_id, transition=TRANSITIONS["cancel"], action=action)
        except RequestFailed as failure:
            if failure.reason in {"not_found", "wrong_state", "store_unavailable"}:
                return False
            raise
        return True
