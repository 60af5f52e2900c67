"""The routes of RunsFunction about runners, whose tokens the refresher keeps fresh.

caller → row, durable first → message for the refresher. Only the last route ever sees a token.
"""

import time

from aws_lambda_powertools.event_handler import Response

from byline.aws import dynamodb, secrets_manager
from byline.refresh.runner_rows import RunnerRow
from serve_runs.audit.records import Resource
from serve_runs.audit.requests import ReadToken
from serve_runs.runners.listing import list_runners
from serve_runs.runners.refresh_queue import announce
from serve_runs.runners.requests import ListRunners, RegisterRunner, Registration
from serve_runs.runners.store import RunnerStore
from serve_runs.runners.tokens import own_principal, read_token
from serve_runs.runners.views import runner_json, secrets_of
from serve_runs.runs.listing import fitting
from serve_runs.service import (
    access_of,
    act_of,
    app,
    audit,
    caller_of_change,
    caller_of_read,
    json_answer,
    log_act,
    no_content,
    refresh_queue_url,
    runners_table,
)
from serve_runs.web.cursors import Position, decode_cursor, encode_cursor
from serve_runs.web.problems import Problem, not_found
from serve_runs.web.requests import path_name, read_body, read_query

client = dynamodb()
runners = RunnerStore(client, runners_table, audit=audit, now=time.time)


@app.put("/v1/projects/<project>/runners/<runner>")
def register_runner(project: str, runner: str) -> Response[str]:
    """Register a runner, change it, or say that it has restarted: 201, or 200 where it is there.

    Its first token comes within seconds; one that it has is not minted anew.
    """
    actor = caller_of_change()
    project, runner = _runner_key(project, runner)
    access = access_of(actor, project)

    def permit(before: RunnerRow | None, after: RunnerRow | None) -> None:
        """The same once more, to the letter, is a restart, which the runner may do by itself."""
        is_same = before is not None and after is not None and after.revision == before.revision
        own = None if before is None else own_principal(before)
        resource = access.resource("Runner", runner, own=own)
        access.require("restart_runner" if is_same else "register_runner", resource)

    row, outcome = runners.register(
        Registration(
            project=project,
            runner=runner,
            body=read_body(app.current_event, RegisterRunner),
            act=act_of(actor, access),
        ),
        permit=permit,
    )
    announce(row, queue_url=refresh_queue_url)
    log_act(f"runner {outcome}", actor, project=project, runner=runner)
    document = runner_json(row, secrets=_secrets(), now=time.time())
    if outcome == "created":
        location = f"/v1/projects/{project}/runners/{runner}"
        return json_answer(201, document, {"Location": location})
    return json_answer(200, document)


@app.get("/v1/projects/<project>/runners")
def list_project_runners(project: str) -> Response[str]:
    """A project's runners, by name."""
    caller = caller_of_read()
    project = path_name(project, of="project")
    access_of(caller, project).require("read_runner")
    query = read_query(app.current_event, ListRunners)
    binding = f"runners of {project}"
    after = decode_cursor(query.cursor, query=binding) if query.cursor else None
    rows, position = list_runners(client, runners_table, project, limit=query.limit, after=after)
    secrets, now = _secrets(), time.time()
    shown = fitting([runner_json(row, secrets=secrets, now=now) for row in rows])
    if len(shown) < len(rows):
        position = Position(project, rows[len(shown) - 1].runner)
    next_cursor = encode_cursor(position, query=binding) if position else None
    return json_answer(200, {"runners": shown, "next_cursor": next_cursor})


@app.get("/v1/projects/<project>/runners/<runner>")
def show_runner(project: str, runner: str) -> Response[str]:
    """One runner, and how its token is doing."""
    caller = caller_of_read()
    project, runner = _runner_key(project, runner)
    access_of(caller, project).require("read_runner")
    row = runners.get(project, runner)
    return json_answer(200, runner_json(row, secrets=_secrets(), now=time.time()))


@app.delete("/v1/projects/<project>/runners/<runner>")
def delete_runner(project: str, runner: str) -> Response[str]:
    """Delete a runner with its secrets: 204, and 404 where there is none."""
    actor = caller_of_change()
    project, runner = _runner_key(project, runner)
    access = access_of(actor, project)
    found = access.resource("Runner", runner)
    access.require("delete_runner", found, find=lambda: runners.get(project, runner))
    row = runners.delete(project, runner, act=act_of(actor, access))
    announce(row, queue_url=refresh_queue_url)
    log_act("runner deleted", actor, project=project, runner=runner)
    return no_content()


@app.get("/v1/projects/<project>/runners/<runner>/token")
def show_runner_token(project: str, runner: str) -> Response[str]:
    """A runner's newest token, for the runner itself and for `credential:token-reader`.

    It is on record before it is handed out. 503 while it has no token that lives.
    """
    caller = caller_of_read()
    project, runner = _runner_key(project, runner)
    query = read_query(app.current_event, ReadToken)
    access, row = access_of(caller, project), runners.find(project, runner)
    try:
        if row is None:
            raise not_found()
        own = own_principal(row)
        access.require("read_runner_token", access.resource("Runner", runner, own=own))
    except Problem:
        log_act("no token for this caller", caller, project=project, runner=runner)
        raise
    document = read_token(row, client=secrets_manager(), now=time.time)
    resource = Resource(project, "runner", runner)
    audit.write(act_of(caller, access), "read_runner_token", resource, run=query.run)
    log_act("token fetched", caller, project=project, runner=runner)
    return json_answer(200, document)


def _runner_key(project: str, runner: str) -> tuple[str, str]:
    return path_name(project, of="project"), path_name(runner, of="runner")


def _secrets() -> str:
    return secrets_of(app.lambda_context.invoked_function_arn)
