"""Ending rights and runs, each in one transaction with its own audit record.

Each is conditional on the row that it ends, so it can be repeated, and nothing ends twice.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from byline.identity.caller import Principal, read_principal
from serve_runs.agents.store import AgentStore
from serve_runs.agents.views import agent_resource
from serve_runs.audit.rights import account_rights, agent_rights, given_rights
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.credentials.readers import Readers
from serve_runs.credentials.store import CredentialStore
from serve_runs.errors import RequestFailed
from serve_runs.role_bindings.store import RoleStore
from serve_runs.role_bindings.views import binding_resource
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import RunStore
from serve_runs.service_accounts.store import ATTEMPTS, ServiceAccountStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from serve_runs.service_accounts.grants import Grants


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """Ends one thing at a time.

    `of`: a principal that must have it still; None for whoever has it. Where it has ended
    meanwhile, or keeps changing, the result is False.
    """

    roles: RoleStore
    accounts: ServiceAccountStore
    agents: AgentStore
    credentials: CredentialStore
    runs: RunStore
    audit: AuditTrail
    grants: "Grants"

    def end_role(
        self, project: str, principal: Principal, role: str, *, action: ActionContext
    ) -> Literal["revoked", "absent", "last_admin"]:
        """Revoke a role, also from the last admin."""
        resource = binding_resource(project, principal, role)
        rights = given_rights(principal, [role])
        record = self.audit.record(action, "revoke_role", resource, details=rights)
        return self.roles.withdraw(project, principal, role, record=record)

    def all_roles(
        self, project: str, principal: Principal, *, action: ActionContext
    ) -> "dict[str, TransactWriteItemTypeDef]":
        """The actions that end a principal's roles together, with a record for each role."""
        roles, _ = self.roles.roles_of(project, principal)
        if not roles:
            return {}
        records = {
            role: self.audit.record(
                action,
                "revoke_role",
                binding_resource(project, principal, role),
                details=given_rights(principal, [role]),
            )
            for role in sorted(roles)
        }
        return {"roles": self.roles.end_all(project, principal, roles), **records}

    def end_account(
        self, project: str, account_id: str, *, of: Principal | None, action: ActionContext
    ) -> bool:
        """Delete the registration of a service account, with its grant."""
        resource = AuditedResource(project, "service_account", account_id)
        for _ in range(ATTEMPTS):
            row = self.accounts.find(project, account_id)
            if row is None or not _is_of(of, row["person"]["S"], row["principal"]["S"]):
                return False
            record = self.audit.record(
                action, "delete_service_account", resource, details=account_rights(row)
            )
            person = read_principal(row["person"]["S"])
            revocation = self.grants.revocation(row, person, request_id=action.request_id)
            if self.accounts.delete(row, record=record, revocation=revocation):
                return True
        return False

    def end_agent(
        self, project: str, name: str, *, of: Principal | None, action: ActionContext
    ) -> bool:
        """Delete an agent's permission."""
        for _ in range(ATTEMPTS):
            row = self.agents.find(project, name)
            if row is None or not _is_of(of, row["principal"]["S"]):
                return False
            resource, rights = agent_resource(project, name), agent_rights(row)
            record = self.audit.record(action, "delete_agent", resource, details=rights)
            if self.agents.delete(row, record=record):
                return True
        return False

    def end_reading(
        self, project: str, credential: str, *, of: Principal, action: ActionContext
    ) -> bool:
        """Remove an application from a credential's readers."""

        def others(readers: Readers | None) -> Readers | None:
            return readers and tuple(each for each in readers if each.principal != of)

        try:
            _, outcome = self.credentials.bind(project, credential, readers=others, action=action)
        except RequestFailed as failure:
            if failure.reason in {"not_found", "store_unavailable"}:
                return False
            raise
        return outcome == "bound"

    def end_run(self, project: str, run_id: str, *, action: ActionContext) -> bool:
        """Cancel a run."""
        try:
            self.runs.change(project, run_id, transition=TRANSITIONS["cancel"], action=action)
        except RequestFailed as failure:
            if failure.reason in {"not_found", "wrong_state", "store_unavailable"}:
                return False
            raise
        return True


def _is_of(principal: Principal | None, *texts: str) -> bool:
    return principal is None or principal.text in texts
