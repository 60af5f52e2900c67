"""The body of an agent's permission; docs/openapi.json is generated from it."""

from typing import Annotated

import msgspec
from msgspec import Meta

from byline.identity.caller import MAX_PRINCIPAL_BYTES, Principal
from byline.identity.typed_text import fault_of_typed
from serve_runs.access.admins import DefaultIssuers
from serve_runs.access.entries import ExpiresAt
from serve_runs.errors import RequestFailed
from serve_runs.role_bindings.requests import IssuerText, RoleName, SubjectText, require_role

AgentRoles = Annotated[list[RoleName], Meta(min_length=1, max_length=8)]


class AllowAgent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent that may act in the project for whoever's token it carries.

    `subject`: its subject at `issuer`, as `act` has it; by default its name in the path. `issuer`:
    by default the only one of `TrustedIssuers`. `roles`: the most it may do; the person's own roles
    limit it too. A member that is left out has its default again.
    """

    subject: SubjectText | None = None
    issuer: IssuerText | None = None
    roles: AgentRoles = msgspec.field(default_factory=lambda: ["project:editor"])
    expires_at: ExpiresAt | None = None

    def principal(self, name: str, issuers: DefaultIssuers) -> Principal:
        """The agent as a principal.

        Raises `RequestFailed` (`invalid_body`), also for an unknown role.
        """
        for role in self.roles:
            require_role(role)
        issuer = self.issuer or issuers.application
        if not issuer:
            detail = "`issuer` is required, because `TrustedIssuers` does not name exactly one."
            raise RequestFailed("invalid_body", detail)
        agent = Principal("application", issuer, self.subject or name)
        for member, text in (("subject", agent.subject), ("issuer", agent.issuer)):
            if fault := fault_of_typed(text):
                raise RequestFailed("invalid_body", f"`{member}` {fault}.")
        if len(agent.text.encode()) > MAX_PRINCIPAL_BYTES:
            raise RequestFailed("invalid_body", "`issuer` and `subject` are too long together.")
        return agent
