"""The routes of RunsFunction about runners, whose tokens the refresher keeps fresh.

caller → row, durable first → message for the refresher. Only the last route ever sees a token.
"""

import time

from aws_lambda_powertools.event_handler import Response

from byline.aws import dynamodb, secrets_manager
from cursors import Position, decode_cursor, encode_cursor
from incoming import path_name, read_body, read_query
from problems import not_found
from refresh_queue import announce
from run_listing import fitting
from runner_listing import list_runners
from runner_requests import ListRunners, RegisterRunner, Registration
from runner_store import RunnerStore
from runner_tokens import is_own, read_token
from runner_views import runner_json, secrets_of
from service import (
    app,
    caller_of_change,
    caller_of_read,
    json_answer,
    log_act,
    no_content,
    refresh_queue_url,
    request_id,
    runners_table,
    settings,
)

runners = RunnerStore(dynamodb(), runners_table, now=time.time)


@app.put("/v1/projects/<project>/runners/<runner>")
def register_runner(project: str, runner: str) -> Response[str]:
    """Register a runner, change it, or say that it has restarted: 201, or 200 where it is there.

    Its first token comes within seconds; one that it has is not minted anew.
    """
    actor = caller_of_change()
    project, runner = _runner_key(project, runner)
    row, outcome = runners.register(
        Registration(
            project=project,
            runner=runner,
            body=read_body(app.current_event, RegisterRunner),
            caller=actor,
            request_id=request_id(),
        )
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
    caller_of_read()
    project = path_name(project, of="project")
    query = read_query(app.current_event, ListRunners)
    binding = f"runners of {project}"
    after = decode_cursor(query.cursor, query=binding) if query.cursor else None
    rows, position = list_runners(
        dynamodb(), runners_table, project, limit=query.limit, after=after
    )
    secrets, now = _secrets(), time.time()
    shown = fitting([runner_json(row, secrets=secrets, now=now) for row in rows])
    if len(shown) < len(rows):
        position = Position(project, rows[len(shown) - 1].runner)
    next_cursor = encode_cursor(position, query=binding) if position else None
    return json_answer(200, {"runners": shown, "next_cursor": next_cursor})


@app.get("/v1/projects/<project>/runners/<runner>")
def show_runner(project: str, runner: str) -> Response[str]:
    """One runner, and how its token is doing."""
    caller_of_read()
    row = runners.get(*_runner_key(project, runner))
    return json_answer(200, runner_json(row, secrets=_secrets(), now=time.time()))


@app.delete("/v1/projects/<project>/runners/<runner>")
def delete_runner(project: str, runner: str) -> Response[str]:
    """Delete a runner with its secrets: 204, and 404 where there is none."""
    actor = caller_of_change()
    project, runner = _runner_key(project, runner)
    row = runners.delete(project, runner, actor=actor, request_id=request_id())
    announce(row, queue_url=refresh_queue_url)
    log_act("runner deleted", actor, project=project, runner=runner)
    return no_content()


@app.get("/v1/projects/<project>/runners/<runner>/token")
def show_runner_token(project: str, runner: str) -> Response[str]:
    """A runner's newest token, for the runner itself; for everybody else 404, as if it were not.

    The runner itself gets 503 while it has no token that lives.
    """
    caller = caller_of_read()
    project, runner = _runner_key(project, runner)
    row = runners.find(project, runner)
    # Where callers are not verified anybody can be anybody: then a token is nobody's.
    if row is None or settings.trust != "verify" or not is_own(row, caller):
        log_act("no token for this caller", caller, project=project, runner=runner)
        raise not_found()
    document = read_token(row, client=secrets_manager(), now=time.time)
    log_act("token fetched", caller, project=project, runner=runner)
    return json_answer(200, document)


def _runner_key(project: str, runner: str) -> tuple[str, str]:
    return path_name(project, of="project"), path_name(runner, of="runner")


def _secrets() -> str:
    return secrets_of(app.lambda_context.invoked_function_arn)
