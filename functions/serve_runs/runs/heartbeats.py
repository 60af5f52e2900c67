"""Heartbeats of runs: a running run shows that its process is alive.

A heartbeat is one conditional write of the run's row and has no audit record. It does not change
`last_request`, so it never disturbs a change of state. PlanRefreshFunction marks a run as lost
whose heartbeats stop. Its mark requires the very time that it has read, so a heartbeat before it
wins. A heartbeat after it takes the run back, which is a change of state with an audit record.
"""

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.caching import Clock
from byline.heartbeats import shard_of
from byline.tables.rows import ConditionFailed, Item, rfc3339, write_row
from serve_runs.calls import Call, json_answer
from serve_runs.errors import RequestFailed
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import RunStore
from serve_runs.runs.views import run_json, run_key
from serve_runs.web.routing import Route

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

PATH = "/v1/projects/<project>/runs/<run_id>/heartbeat"


class HeartbeatRoutes(msgspec.Struct, frozen=True):
    """The route of heartbeats."""

    client: "DynamoDBClient"
    table: str
    store: RunStore
    now: Clock

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (Route("POST", PATH, self.send_heartbeat),)

    def send_heartbeat(self, call: Call, run_id: str) -> Response[str]:
        """Show that a run is alive: 200 with the run, 409 if it is not running or has none."""
        resource = call.access.resource("Run", run_id)
        find: Callable[[], Item] = lambda: self.store.get(call.project, run_id)  # noqa: E731
        call.access.require("send_heartbeat", resource, find=find)
        try:
            run = self._write(call.project, run_id)
        except ConditionFailed:
            run = self._resume(call, run_id)
        return json_answer(200, run_json(run))

    def _write(self, project: str, run_id: str) -> Item:
        """Raises `ConditionFailed` where the run is not running, or has no heartbeats."""
        now = self.now()
        answer = write_row(
            self.client,
            lambda: self.client.update_item(
                TableName=self.table,
                Key=run_key(project, run_id),
                # A repeated call moves the time on by as much as the first one.
                UpdateExpression=(
                    "SET heartbeat_at = :at, heartbeat_due = heartbeat_seconds + :now, "
                    "heartbeat_shard = :shard"
                ),
                ConditionExpression="#status = :running AND attribute_exists(heartbeat_seconds)",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":at": {"S": rfc3339(now)},
                    ":now": {"N": str(ceil(now))},
                    ":shard": {"S": shard_of(run_id)},
                    ":running": {"S": "running"},
                },
                ReturnValues="ALL_NEW",
            ),
        )
        return answer["Attributes"]

    def _resume(self, call: Call, run_id: str) -> Item:
        """The run that was lost and is running again. Raises `RequestFailed`."""
        run = self.store.get(call.project, run_id)
        if "heartbeat_seconds" not in run:
            raise RequestFailed(
                "wrong_state",
                "The run was created without `heartbeat_seconds`, so it has no heartbeats.",
                members={"current_status": run["status"]["S"]},
            )
        run = self.store.change(
            call.project, run_id, transition=TRANSITIONS["resume"], action=call.action
        )
        call.log("run resumed", run=run_id)
        return run
