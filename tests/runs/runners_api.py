"""The runner routes, with AWS and its limits behind them, an issuer, and the refresher at hand."""

from dataclasses import dataclass
from typing import Any

import msgspec

from byline.refresh.runner_rows import RunnerRow, read_runner
from byline.refresh.work_units import WorkUnit
from tests.refresh.world import TABLE, World
from tests.runs.identity_server import Credential
from tests.runs.runs_api import Answer, RunsApi


@dataclass
class RunnersApi:
    """The function before a project without runners; `scheduler` is its client."""

    api: RunsApi
    world: World
    project: str

    def path(self, runner: str = "nightly", *, of: str = "") -> str:
        """A runner's path, or `of` it."""
        return f"/v1/projects/{self.project}/runners/{runner}{of}"

    def put(self, by: Credential, runner: str = "nightly", **body: Any) -> Answer:
        """Register a runner."""
        document = {"client": "scheduler", **body}
        return self.api.call("PUT", self.path(runner), by=by, document=document)

    def get(self, by: Credential, runner: str = "nightly") -> Answer:
        return self.api.call("GET", self.path(runner), by=by)

    def delete(self, by: Credential, runner: str = "nightly") -> Answer:
        return self.api.call("DELETE", self.path(runner), by=by)

    def token(self, by: Credential, runner: str = "nightly") -> Answer:
        return self.api.call("GET", self.path(runner, of="/token"), by=by)

    def row(self, runner: str = "nightly") -> RunnerRow | None:
        """The runner's row."""
        return self.world.row(runner, project=self.project)

    def registered(self, runner: str = "nightly") -> RunnerRow:
        """The row of a runner that must be there."""
        row = self.row(runner)
        assert row is not None
        return row

    def store(self, row: RunnerRow) -> None:
        """Make the runner's row this one."""
        self.world.put(row)

    def deleted(self) -> list[RunnerRow]:
        """The rows of deleted runners."""
        return [read_runner(item) for item in self.items("deleted")]

    def items(self, kind: str = "") -> list[dict[str, Any]]:
        """The project's rows of a kind, runners' where none is named."""
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
        """What AWS was asked so far."""
        return [call.operation for call in self.world.aws.calls if service in {"", call.service}]

    def messages(self) -> list[WorkUnit]:
        """The units that the refresher was told of."""
        return [
            msgspec.json.decode(call.document["MessageBody"], type=WorkUnit)
            for call in self.world.aws.calls
            if call.operation == "SendMessage" and call.outcome == "done"
        ]

    def refresh(self, *units: WorkUnit) -> None:
        """Let a worker do what is due of these units, of the nightly runner's where none is named.

        What the worker asks of AWS is not counted.
        """
        aws = self.world.aws
        before = list(aws.calls)
        self.world.catch_up()
        for unit in units or (self.registered().work_unit,):
            assert self.world.worker().refresh(unit) == "done"
        aws.calls[:] = before
