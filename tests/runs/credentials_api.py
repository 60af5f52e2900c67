"""The credential routes, with AWS and its limits behind them, and people with few rights."""

import json
from dataclasses import dataclass
from typing import Any

from tests.refresh.world import World
from tests.runs.identity_server import Credential
from tests.runs.runners_api import RunnersApi
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE

TOKEN = "ghp_S3CRETofGitHub"
OTHER = "ghp_AN0THERofGitHub"


@dataclass
class CredentialsApi:
    """The function before a project without credentials."""

    runners: RunnersApi
    issuer: str

    @property
    def api(self) -> RunsApi:
        return self.runners.api

    @property
    def world(self) -> World:
        return self.runners.world

    @property
    def project(self) -> str:
        return self.runners.project

    def path(self, name: str = "github", *, of: str = "") -> str:
        """A credential's path, or `of` it; of them all where it has no name."""
        return f"/v1/projects/{self.project}/credentials/{name}{of}".removesuffix("/")

    def put(self, by: Credential, name: str = "github", **body: Any) -> Answer:
        """Store a credential."""
        document = {"provider": "github", "token": TOKEN, **body}
        return self.api.call("PUT", self.path(name), by=by, document=document)

    def get(self, by: Credential, name: str = "github") -> Answer:
        return self.api.call("GET", self.path(name), by=by)

    def page(self, by: Credential, **query: str) -> Answer:
        return self.api.call("GET", self.path(""), by=by, query=query)

    def delete(self, by: Credential, name: str = "github") -> Answer:
        return self.api.call("DELETE", self.path(name), by=by)

    def token(self, by: Credential, name: str = "github", **query: str) -> Answer:
        return self.api.call("GET", self.path(name, of="/token"), by=by, query=query)

    def grant(self, subject: str, *roles: str, kind: str = "user") -> None:
        """Give somebody these roles and no other, behind the function's back."""
        self.world.dynamodb.put_item(
            TableName=ACCESS_TABLE,
            Item={
                "scope": {"S": f"project#{self.project}"},
                "entry": {"S": f"roles#{kind}:{self.issuer}#{subject}"},
                "roles": {"SS": [*roles]},
            },
        )

    def rows(self, scope: str = "project") -> list[dict[str, Any]]:
        """The project's rows of a scope, roles and their count aside."""
        page = self.world.dynamodb.scan(TableName=ACCESS_TABLE, ConsistentRead=True)
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
        """What was recorded in the project, in the order of time."""
        records = [{name: value["S"] for name, value in row.items()} for row in self.rows("audit")]
        return sorted(records, key=lambda record: record["entry"])

    def secret(self, name: str = "github") -> dict[str, Any]:
        """What a credential's secret holds as its current version."""
        value: dict[str, Any] = json.loads(
            self.world.aws.secrets.current(f"byline/credentials/{self.project}/{name}")
        )
        return value

    def secrets(self) -> list[str]:
        """The names of the project's secrets that can be used."""
        folder = f"byline/credentials/{self.project}/"
        return [name for name in self.world.aws.secrets.names() if name.startswith(folder)]

    def calls(self) -> list[str]:
        """What AWS was asked so far."""
        return [call.operation for call in self.world.aws.calls]
