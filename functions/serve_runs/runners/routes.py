"""The routes of runners, whose tokens the refresher keeps fresh.

caller → policy → the rows → a message for the refresher. Only `show_runner_token` reads a token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import Response

from byline.caching import Clock
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import SecretNames
from serve_runs.audit.requests import ReadToken
from serve_runs.audit.trail import AuditedResource, AuditTrail
from serve_runs.calls import Call, json_answer, no_content
from serve_runs.errors import not_found
from serve_runs.profiles.store import Profiles
from serve_runs.runners.changes import Runner
from serve_runs.runners.queries import list_runners
from serve_runs.runners.refresh_queue import announce
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.store import Registered, RunnerStore
from serve_runs.runners.tokens import own_principal, read_token
from serve_runs.runners.views import SecretArns, runner_json, secrets_prefix
from serve_runs.runners.warnings import (
    RegistrationWarning,
    client_secret_warnings,
    token_warnings,
)
from serve_runs.web.paging import (
    PageQuery,
    decode_position,
    encode_position,
    fitting,
)
from serve_runs.web.routing import Route

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_secretsmanager.client import SecretsManagerClient

RUNNERS = "/v1/projects/<project>/runners"
RUNNER = f"{RUNNERS}/<runner>"


@dataclass(frozen=True, slots=True)
class RunnerRoutes:
    """The routes of runners. `secrets` makes the client of Secrets Manager for token reads.

    `executed_run` raises `RequestFailed` unless the caller executes a run.
    """

    client: "DynamoDBClient"
    table: str
    store: RunnerStore
    audit: AuditTrail
    profiles: Profiles
    secrets: "Callable[[], SecretsManagerClient]"
    names: SecretNames
    refresh_queue_url: str
    now: Clock
    executed_run: Callable[[Call, str], object]

    def routes(self) -> tuple[Route, ...]:
        """The routes, with their paths."""
        return (
            Route("PUT", RUNNER, self.register_runner, takes_body=True),
            Route("GET", RUNNERS, self.list_project_runners),
            Route("GET", RUNNER, self.show_runner),
            Route("DELETE", RUNNER, self.delete_runner),
            Route(
                "GET", f"{RUNNER}/token", self.show_runner_token, writes=True, hands_out="runner"
            ),
            Route("POST", f"{RUNNER}/refresh", self.refresh_runner),
        )

    def register_runner(self, call: Call, runner: str) -> Response[str]:
        """Register a runner, change it, or report its restart: 201, or 200 where it exists.

        It gets the token of the runners with the same request, or a new one within seconds.
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
        registered = self.store.register(registration, permit=permit)
        self._announce(registered.retired, registered.runner.token)
        call.log(f"runner {registered.outcome}", runner=runner)
        document = self._json(call, registered.runner) | {"warnings": self._warnings(registered)}
        if registered.outcome == "created":
            location = f"/v1/projects/{call.project}/runners/{runner}"
            return json_answer(201, document, location=location)
        return json_answer(200, document)

    def list_project_runners(self, call: Call) -> Response[str]:
        """A project's runners, by name."""
        call.access.require("read_runner")
        query = call.query(PageQuery)
        binding = f"runners of {call.project}"
        after = decode_position(query.cursor, query=binding)
        runners, last = list_runners(
            self.client,
            self.table,
            call.project,
            limit=query.limit,
            after=after,
            store=self.store,
        )
        documents = [self._json(call, runner) for runner in runners]
        self.profiles.complete(documents)
        shown = fitting(documents)
        if len(shown) < len(runners):
            last = runners[len(shown) - 1].row.runner
        next_cursor = encode_position(call.project, last, query=binding)
        return json_answer(200, {"runners": shown, "next_cursor": next_cursor})

    def show_runner(self, call: Call, runner: str) -> Response[str]:
        """One runner, with the times of its token."""
        call.access.require("read_runner")
        shown = self._json(call, self.store.get(call.project, runner))
        self.profiles.complete([shown])
        return json_answer(200, shown)

    def delete_runner(self, call: Call, runner: str) -> Response[str]:
        """Delete a runner: 204, or 404 where it does not exist.

        With the last runner of a token, the token is revoked and its secrets are deleted.
        """
        resource = call.access.resource("Runner", runner)
        call.access.require(
            "delete_runner", resource, find=lambda: self.store.get(call.project, runner)
        )
        self._announce(self.store.delete(call.project, runner, action=call.action))
        call.log("runner deleted", runner=runner)
        return no_content()

    def refresh_runner(self, call: Call, runner: str) -> Response[str]:
        """Refresh a runner's token now, whatever it waits for: 202 with the runner.

        429 soon after the request before, and where working tokens were replaced too often.
        """
        row = self.store.find(call.project, runner)
        own = None if row is None else own_principal(row)
        resource = call.access.resource("Runner", runner, own=own)
        call.access.require(
            "refresh_runner", resource, find=lambda: self.store.get(call.project, runner)
        )
        action = call.action.on(resource, "refresh_runner", access=call.access)
        refreshed = self.store.refresh(call.project, runner, action=action)
        self._announce(refreshed.token)
        call.log("refresh asked for", runner=runner)
        return json_answer(202, self._json(call, refreshed))

    def show_runner_token(self, call: Call, runner: str) -> Response[str]:
        """A runner's newest token, for the runner itself and for `runner:token-reader`.

        The read is recorded before the token is returned. 503 while no live token exists.
        """
        query = call.query(ReadToken)
        access, row = call.access, self.store.find(call.project, runner)
        if row is None:
            raise not_found()
        resource = access.resource("Runner", runner, own=own_principal(row))
        access.require("read_runner_token", resource)
        if query.run is not None:
            self.executed_run(call, query.run)
        token = self.store.token_of(row)
        document = read_token(token, names=self.names, client=self.secrets(), now=self.now)
        self.audit.write(
            call.action.on(resource, "read_runner_token", access=call.access),
            "read_runner_token",
            AuditedResource(call.project, "runner", runner),
            run=query.run,
        )
        call.log("token fetched", runner=runner)
        return json_answer(200, document)

    def _announce(self, *tokens: TokenRow | None) -> None:
        for token in tokens:
            if token is not None:
                announce(token, queue_url=self.refresh_queue_url, now=self.now())

    def _warnings(self, registered: Registered) -> list[RegistrationWarning]:
        token = registered.runner.token
        warnings = token_warnings(token.last_error, slots=token.slots)
        if registered.is_new_token:
            name = self.names.client(token.project, token.client)
            warnings += token_warnings(
                registered.client_failure, slots=None
            ) or client_secret_warnings(name, client=self.secrets())
        return warnings

    def _json(self, call: Call, runner: Runner) -> dict[str, Any]:
        return runner_json(runner, arns=self._arns(call), now=self.now())

    def _arns(self, call: Call) -> SecretArns:
        return SecretArns(self.names, secrets_prefix(call.context.invoked_function_arn))
