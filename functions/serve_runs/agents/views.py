"""An agent's permission as rows of `AccessTable`, as the API shows it, and as records name it."""

from dataclasses import dataclass
from typing import Any

from byline.identity.caller import Principal, read_principal
from byline.tables.rows import Item, attributes
from serve_runs.access.entries import expires_at, expiring
from serve_runs.access.projects import project_key
from serve_runs.audit.trail import AuditedResource

ENTRY = "agent#"
"""The prefix of the sort keys of a project's agents."""


@dataclass(frozen=True, slots=True)
class AgentPermission:
    """The request that `agent` may act in `project`, with `roles`.

    `end`: when the permission ends by itself, seconds since the epoch; None for never.
    `request_id`: Lambda's.
    """

    project: str
    name: str
    agent: Principal
    roles: frozenset[str]
    end: int | None
    request_id: str

    def item(self, *, created_at: str, updated_at: str) -> Item:
        """The columns of both rows. Times are RFC 3339."""
        texts = {
            "name": self.name,
            "principal": self.agent.text,
            "project": self.project,
            "created_at": created_at,
            "updated_at": updated_at,
            "last_request": self.request_id,
        }
        return attributes(texts) | {"roles": {"SS": sorted(self.roles)}} | expiring(self.end)


def listed_key(project: str, name: str) -> Item:
    """The key of the row by name."""
    return project_key(project) | {"entry": {"S": f"{ENTRY}{name}"}}


def agent_json(row: Item) -> dict[str, Any]:
    """An agent's permission as the API shows it."""
    agent = read_principal(row["principal"]["S"])
    return {
        "name": row["name"]["S"],
        "project": row["project"]["S"],
        "issuer": agent.issuer,
        "subject": agent.subject,
        "roles": sorted(row["roles"]["SS"]),
        "expires_at": expires_at(row),
        "created_at": row["created_at"]["S"],
        "updated_at": row["updated_at"]["S"],
    }


def agent_resource(project: str, name: str) -> AuditedResource:
    """A permission as the audit trail names it."""
    return AuditedResource(project, "agent", name)
