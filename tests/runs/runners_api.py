"""Helpers that call the runner routes, with limited AWS, an issuer and a refresh worker."""

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

    def token(self, by: Credential, runner: str = "nightly") -> Answer:
        """Read a runner's token."""
        return self.api.call("GET", self.path(runner, of="/token"), by=by)

    def row(self, runner: str = "nightly") -> RunnerRow | None:
        """The runner's row, None where it does not exist."""
        return self.world.row(runner, project=self.project)

    def registered_row(self, runner: str = "nightly") -> RunnerRow:
        """The runner's row, which must exist."""
        row = self.row(runner)
        assert row is not None
        return row

    def store(self, row: RunnerRow) -> None:
        """Overwrite the runner's row."""
        self.world.put(row)

    def tombstones(self) -> list[RunnerRow]:
        """The tombstones of deleted runners."""
        return [read_runner(item) for item in self.items("deleted")]

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
        """Let a worker refresh the due runners of these units; the nightly runner's unit by
        default.

        The worker's AWS calls are not counted.
        """
        aws = self.world.aws
        before = list(aws.calls)
        self.world.catch_up()
        for unit in units or (self.registered_row().work_unit,):
            assert self.world.worker().refresh(unit) == "done"
        aws.calls[:] = before
