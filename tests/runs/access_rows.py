"""Helpers that write roles directly to `AccessTable`, and that register service accounts."""

from dataclasses import dataclass
from typing import Any

from byline.identity.caller import Principal, PrincipalKind
from serve_runs.access.control import agent_key, roles_key
from serve_runs.agents.views import AgentPermission, listed_key
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb

PROJECT = "/v1/projects/apollo"
ACCOUNTS = f"{PROJECT}/service-accounts"
RUNS = f"{PROJECT}/runs"


@dataclass(frozen=True, slots=True)
class AccessRows:
    """The rows of `AccessTable`. Principals are of the tests' issuer."""

    dynamodb: DynamoDb
    web: Web

    def grant(
        self,
        role: str,
        subject: str,
        *,
        kind: PrincipalKind = "user",
        project: str = "apollo",
    ) -> None:
        """Give a principal a role."""
        self._write("ADD", role, Principal(kind, self.web.url, subject), project)

    def allow(
        self, agent: str, *roles: str, project: str = "apollo", end: int | None = None
    ) -> None:
        """Let an agent act for whoever's token it carries, as an editor by default."""
        principal = Principal("application", self.web.url, agent)
        for item in agent_rows(
            principal, *(roles or ("project:editor",)), project=project, end=end
        ):
            self.dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=item)
        self.dynamodb.calls.clear()

    def revoke(self, role: str, subject: str, *, project: str = "apollo") -> None:
        """Take a role from a person."""
        self._write("DELETE", role, Principal("user", self.web.url, subject), project)

    def rows(self) -> list[dict[str, Any]]:
        """All rows of the table except profiles."""
        return [row for row in self.dynamodb.rows(ACCESS_TABLE) if row["entry"] != {"S": "profile"}]

    def records(self, action: str) -> list[dict[str, Any]]:
        """The audit records of an action."""
        return [row for row in self.rows() if row.get("action") == {"S": action}]

    def _write(self, update: str, role: str, principal: Principal, project: str) -> None:
        self.dynamodb.client.update_item(
            TableName=ACCESS_TABLE,
            Key=roles_key(project, principal),
            UpdateExpression=f"{update} #roles :these",
            ExpressionAttributeNames={"#roles": "roles"},
            ExpressionAttributeValues={":these": {"SS": [role]}},
        )
        self.dynamodb.calls.clear()


def token_of(account: Credential) -> str:
    """The token of a Bearer credential."""
    return account.headers[0][1].removeprefix("Bearer ")


def register(api: RunsApi, by: Credential, account: Credential, **body: Any) -> Answer:
    """Register `account` as a service account of the caller `by`."""
    document = {"token": token_of(account), **body}
    return api.call("POST", ACCOUNTS, by=by, document=document)


def acts_for(api: RunsApi, account: Credential) -> Any:
    """The person that `account` acts for, as `whoami` shows it."""
    return api.call("GET", "/v1/whoami", by=account).json["on_behalf_of"]


def creation_status(api: RunsApi, by: Credential) -> int:
    """The status of an attempt to create a run."""
    return api.call("POST", RUNS, by=by).status


def agent_rows(
    agent: Principal, *roles: str, project: str, end: int | None = None
) -> list[dict[str, Any]]:
    """The rows of an agent's permission to act for whoever's token it carries, with `roles`."""
    permission = AgentPermission(
        project=project,
        name=agent.subject,
        agent=agent,
        roles=frozenset(roles),
        end=end,
        request_id="r",
    )
    at = "2026-11-02T08:00:00.000Z"
    row = permission.item(created_at=at, updated_at=at)
    keys = (agent_key(agent, project), listed_key(project, agent.subject))
    return [{**row, **key} for key in keys]
