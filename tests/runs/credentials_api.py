"""Helpers that call the credential routes, with limited AWS and callers with few roles."""

import json
from dataclasses import dataclass
from typing import Any

from byline.identity.caller import Principal
from tests.refresh.world import SECRETS, World
from tests.runs.access_rows import agent_rows
from tests.runs.identity_server import Credential
from tests.runs.runners_api import RunnersApi
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE

TOKEN = "ghp_S3CRETofGitHub"
OTHER = "ghp_AN0THERofGitHub"


@dataclass
class CredentialsApi:
    """The function with a project that has no credentials."""

    runners: RunnersApi
    issuer: str

    @property
    def api(self) -> RunsApi:
        """The API under test."""
        return self.runners.api

    @property
    def world(self) -> World:
        """The simulated AWS."""
        return self.runners.world

    @property
    def project(self) -> str:
        """The project's name."""
        return self.runners.project

    def path(self, name: str = "github", *, of: str = "") -> str:
        """The path of a credential or of a part `of` it; without a name, that of the list."""
        return f"/v1/projects/{self.project}/credentials/{name}{of}".removesuffix("/")

    def put(self, by: Credential, name: str = "github", **body: Any) -> Answer:
        """Write a credential."""
        document = {"provider": "github", "token": TOKEN, **body}
        return self.api.call("PUT", self.path(name), by=by, document=document)

    def bind(self, by: Credential, *readers: Any, name: str = "github") -> Answer:
        """Bind a credential to readers."""
        path, document = self.path(name, of="/readers"), {"readers": [*readers]}
        return self.api.call("PUT", path, by=by, document=document)

    def get(self, by: Credential, name: str = "github") -> Answer:
        """Read a credential."""
        return self.api.call("GET", self.path(name), by=by)

    def page(self, by: Credential, **query: str) -> Answer:
        """List the credentials."""
        return self.api.call("GET", self.path(""), by=by, query=query)

    def delete(self, by: Credential, name: str = "github") -> Answer:
        """Delete a credential."""
        return self.api.call("DELETE", self.path(name), by=by)

    def token(self, by: Credential, name: str = "github", **query: str) -> Answer:
        """Read a credential's token."""
        return self.api.call("GET", self.path(name, of="/token"), by=by, query=query)

    def run(self, by: Credential, *changes: str, **body: Any) -> str:
        """Create a run, carry out `changes`, by default `start`, and return its id."""
        run: str = self.api.create(by, project=self.project, **body)["id"]
        for change in changes or ("start",):
            path = f"/v1/projects/{self.project}/runs/{run}/{change}"
            assert self.api.call("POST", path, by=by).status == 200
        return run

    def grant(self, subject: str, *roles: str, kind: str = "user") -> None:
        """Write a principal's roles directly to the table, in place of the ones it has."""
        self.world.dynamodb.put_item(
            TableName=ACCESS_TABLE,
            Item={
                "scope": {"S": f"project#{self.project}"},
                "entry": {"S": f"roles#{kind}:{self.issuer}#{subject}"},
                "roles": {"SS": [*roles]},
            },
        )

    def allow(self, agent: str, *roles: str) -> None:
        """Let an agent act for whoever's token it carries, with these roles."""
        principal = Principal("application", self.issuer, agent)
        for item in agent_rows(principal, *roles, project=self.project):
            self.world.dynamodb.put_item(TableName=ACCESS_TABLE, Item=item)

    def rows(self, scope: str = "project") -> list[dict[str, Any]]:
        """The project's rows of a scope, without role bindings and the project row."""
        page = self.world.dynamodb.scan(
            TableName=ACCESS_TABLE,
            ConsistentRead=True,
            # The tests of a session share the table.
            FilterExpression="begins_with(#scope, :scope)",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={":scope": {"S": f"{scope}#{self.project}"}},
        )
        items: list[dict[str, Any]] = page["Items"]
        return [
            item
            for item in items
            if f"{item['scope']['S']}#".startswith(f"{scope}#{self.project}#")
            and not item["entry"]["S"].startswith(("roles#", "project"))
        ]

    def row(self, name: str = "github") -> dict[str, Any]:
        """A credential's row."""
        [row] = [row for row in self.rows() if row["entry"]["S"] == f"credential#{name}"]
        return row

    def records(self) -> list[dict[str, str]]:
        """The texts of the project's audit records, in the order of time."""
        records = [
            {name: value["S"] for name, value in row.items() if "S" in value}
            for row in self.rows("audit")
        ]
        return sorted(records, key=lambda record: record["entry"])

    def secret(self, name: str = "github") -> dict[str, Any]:
        """The current version of a credential's secret."""
        value: dict[str, Any] = json.loads(
            self.world.aws.secrets.current(SECRETS.credential(self.project, name))
        )
        return value

    def secrets(self) -> list[str]:
        """The names of the project's secrets that are not deleted."""
        folder = SECRETS.credential(self.project, "")
        return [name for name in self.world.aws.secrets.names() if name.startswith(folder)]

    def calls(self) -> list[str]:
        """The operations of the AWS calls so far."""
        return [call.operation for call in self.world.aws.calls]
