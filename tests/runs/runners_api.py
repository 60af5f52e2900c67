"""Helpers that call the runner routes, with limited AWS, an issuer and a refresh worker."""

from dataclasses import dataclass
from typing import Any

import msgspec

from byline.refresh.runner_rows import RunnerRow, read_runner, runner_item, runner_key
from byline.refresh.token_rows import TokenRow, read_token_row, token_item
from byline.refresh.work_units import WorkUnit
from tests.refresh.world import SECRETS, TABLE, World
from tests.runs.identity_server import Credential
from tests.runs.runs_api import Answer, RunsApi


@dataclass
class RunnersApi:
    """The function with a project that has no runners; `scheduler` is the project's client."""

    api: RunsApi
    world: World
    project: str

    def path(self, runner: str = "nightly", *, of: str = "") -> str:
        """The path of a runner, or of a part `of` it."""
        return f"/v1/projects/{self.project}/runners/{runner}{of}"

    def put(self, by: Credential, runner: str = "nightly", **body: Any) -> Answer:
        """Register a runner."""
        document = {"client": "scheduler", **body}
        return self.api.call("PUT", self.path(runner), by=by, document=document)

    def get(self, by: Credential, runner: str = "nightly") -> Answer:
        """Read a runner."""
        return self.api.call("GET", self.path(runner), by=by)

    def delete(self, by: Credential, runner: str = "nightly") -> Answer:
        """Delete a runner."""
        return self.api.call("DELETE", self.path(runner), by=by)

    def refresh_now(self, by: Credential, runner: str = "nightly") -> Answer:
        """Ask for a refresh of a runner's token."""
        return self.api.call("POST", self.path(runner, of="/refresh"), by=by)

    def tokens(self, by: Credential, **query: str) -> Answer:
        """List the project's tokens."""
        return self.api.call("GET", f"/v1/projects/{self.project}/tokens", by=by, query=query)

    def token(self, by: Credential, runner: str = "nightly") -> Answer:
        """Read a runner's token."""
        return self.api.call("GET", self.path(runner, of="/token"), by=by)

    def row(self, runner: str = "nightly") -> RunnerRow:
        """The runner's row, which must exist."""
        answer = self.world.aws.observer("dynamodb").get_item(
            TableName=TABLE, Key=runner_key(self.project, runner), ConsistentRead=True
        )
        return read_runner(answer["Item"])

    def token_row(self, runner: str = "nightly") -> TokenRow:
        """The row of the token that the runner points to, which must exist."""
        answer = self.world.aws.observer("dynamodb").get_item(
            TableName=TABLE, Key=self.row(runner).token_key, ConsistentRead=True
        )
        return read_token_row(answer["Item"])

    def store(self, row: RunnerRow | TokenRow) -> None:
        """Overwrite the row of a runner or a token."""
        item = token_item(row) if isinstance(row, TokenRow) else runner_item(row)
        self.world.aws.observer("dynamodb").put_item(TableName=TABLE, Item=item)

    def retired(self) -> list[TokenRow]:
        """The tokens without a runner."""
        return [read_token_row(item) for item in self.items("retired")]

    def live(self) -> list[TokenRow]:
        """The tokens with runners."""
        return [read_token_row(item) for item in self.items("tokens")]

    def secrets_of(self, token: TokenRow) -> list[str]:
        """The names of a token's secrets that exist."""
        start = SECRETS.token(token.project, token.client, token.id, 0)[:-1]
        return [name for name in self.world.aws.secrets.names() if name.startswith(start)]

    def items(self, kind: str = "") -> list[dict[str, Any]]:
        """The project's rows of a kind; runners where no kind is given."""
        page = self.world.aws.observer("dynamodb").query(
            TableName=TABLE,
            KeyConditionExpression="#project = :project",
            ExpressionAttributeNames={"#project": "project"},
            ExpressionAttributeValues={
                ":project": {"S": f"{kind}#{self.project}" if kind else self.project}
            },
        )
        items: list[dict[str, Any]] = page["Items"]
        return items

    def calls(self, service: str = "") -> list[str]:
        """The operations of the AWS calls so far."""
        return [call.operation for call in self.world.aws.calls if service in {"", call.service}]

    def messages(self) -> list[WorkUnit]:
        """The work units that were sent to the refresh queue."""
        return [
            msgspec.json.decode(call.document["MessageBody"], type=WorkUnit)
            for call in self.world.aws.calls
            if call.operation == "SendMessage" and call.outcome == "done"
        ]

    def refresh(self, *units: WorkUnit) -> None:
        """Let a worker do the due work of these units, by default of the nightly runner's.

        The worker's AWS calls are not counted.
        """
        aws = self.world.aws
        before = list(aws.calls)
        self.world.catch_up()
        for unit in units or (self.token_row().work_unit,):
            assert self.world.worker().refresh(unit) == "done"
        aws.calls[:] = before
