"""The routes of runners, whose tokens the refresher keeps fresh.

caller → policy → the row → a message for the refresher. Only the last route reads a token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import Response

from byline.caching import Clock
from byline.refresh.runner_rows import RunnerRow
from byline.secret_names import SecretNames
from serve_runs.audit.requests import ReadToken
from serve_runs.audit.trail import AuditedResource, AuditTrail
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.errors import RequestFailed, not_found
from serve_runs.runners.queries import list_runners
from serve_runs.runners.refresh_queue import announce
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.store import RunnerStore
from serve_runs.runners.tokens import own_principal, read_token
from serve_runs.runners.views import runner_json, secrets_prefix
from serve_runs.web.paging import PageQuery, Position, decode_position, encode_position, fitting
from serve_runs.web.routing import Route

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_secretsmanager.client import SecretsManagerClient

RUNNERS = "/v1/projects/<project>/runners"
RUNNER = f"{RUNNERS}/<runner>"


@dataclass(frozen=True, slots=True)
class RunnerRoutes:
    """The routes of runners. `secrets` makes the client of Secrets Manager for token reads."""

    client: "DynamoDBClient"
    table: str
    store: RunnerStore
    audit: AuditTrail
    secrets: "Callable[[], SecretsManagerClient]"
    names: SecretNames
    refresh_queue_url: str
    now: Clock

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("PUT", RUNNER, self.register_runner),
            Route("GET", RUNNERS, self.list_project_runners),
            Route("GET", RUNNER, self.show_runner),
            Route("DELETE", RUNNER, self.delete_runner),
            Route("GET", f"{RUNNER}/token", self.show_runner_token),
        )

    def register_runner(self, call: Call, runner: str) -> Response[str]:
        """Register a runner, change it, or report its restart: 201, or 200 where it exists.

        Its first token is available within seconds. An existing token is not minted again.
        """
        access = call.access

        def permit(before: RunnerRow | None, after: RunnerRow | None) -> None:
            """Require the action. An unchanged registration is a restart, a right of the runner."""
            is_same = before is not None and after is not None and after.revision == before.revision
            own = None if before is None else own_principal(before)
            resource = access.resource("Runner", runner, own=own)
            access.require("restart_runner" if is_same else "register_runner", resource)

        registration = RunnerRegistration(
            project=call.project,
            runner=runner,
            body=call.body(RegisterRunner),
            action=call.action,
        )
        row, outcome = self.store.register(registration, permit=permit)
        announce(row, queue_url=self.refresh_queue_url)
        call.log(f"runner {outcome}", runner=runner)
        document = self._json(call, row)
        if outcome == "created":
            location = f"/v1/projects/{call.project}/runners/{runner}"
            return json_answer(201, document, location=location)
        return json_answer(200, document)

    def list_project_runners(self, call: Call) -> Response[str]:
        """A project's runners, by name."""
        call.access.require("read_runner")
        query = call.query(PageQuery)
        binding = f"runners of {call.project}"
        after = decode_position(query.cursor, query=binding) if query.cursor else None
        rows, position = list_runners(
            self.client, self.table, call.project, limit=query.limit, after=after
        )
        shown = fitting([self._json(call, row) for row in rows])
        if len(shown) < len(rows):
            position = Position(call.project, rows[len(shown) - 1].runner)
        next_cursor = encode_position(position, query=binding) if position else None
        return json_answer(200, {"runners": shown, "next_cursor": next_cursor})

    def show_runner(self, call: Call, runner: str) -> Response[str]:
        """One runner, with the times of its token."""
        call.access.require("read_runner")
        row = self.store.get(call.project, runner)
        return json_answer(200, self._json(call, row))

    def delete_runner(self, call: Call, runner: str) -> Response[str]:
        """Delete a runner and its secrets: 204, or 404 where it does not exist."""
        resource = call.access.resource("Runner", runner)
        call.access.require(
            "delete_runner", resource, find=lambda: self.store.get(call.project, runner)
        )
        row = self.store.delete(call.project, runner, action=call.action)
        announce(row, queue_url=self.refresh_queue_url)
        call.log("runner deleted", runner=runner)
        return no_content()

    def show_runner_token(self, call: Call, runner: str) -> Response[str]:
        """A runner's newest token, for the runner itself and for `credential:token-reader`.

        The read is recorded before the token is returned. 503 while no live token exists.
        """
        query = call.query(ReadToken)
        access, row = call.access, self.store.find(call.project, runner)
        try:
            if row is None:
                raise not_found()
            own = own_principal(row)
            access.require("read_runner_token", access.resource("Runner", runner, own=own))
        except RequestFailed:
            call.log("token refused", runner=runner)
            raise
        document = read_token(row, names=self.names, client=self.secrets(), now=self.now)
        resource = AuditedResource(call.project, "runner", runner)
        self.audit.write(call.action, "read_runner_token", resource, run=query.run)
        call.log("token fetched", runner=runner)
        return json_answer(200, document)

    def _json(self, call: Call, row: RunnerRow) -> dict[str, Any]:
        secrets = secrets_prefix(call.context.invoked_function_arn)
        return runner_json(row, names=self.names, secrets=secrets, now=self.now())
