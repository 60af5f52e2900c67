"""RunsFunction: answers every request that the load balancer forwards.

load balancer → one credential, verified → caller → one conditional write → answer.
The routes below and in `serve_runners` are the whole story; `run_store` and `runner_store` hold
what they do to the tables.
"""

from byline.init_phase import end_init  # stops the garbage collector, so it is the first

# isort: split
import os
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.utilities.typing import LambdaContext
from ulid import ULID

import run_requests
import sight
from byline.aws import dynamodb
from byline.caller import Caller
from byline.errors import Rejected
from byline.outbox import no_mark, unregistered_mark
from byline.settings import base_url, required
from cursors import decode_cursor, encode_cursor
from incoming import path_name, read_query
from problems import Problem, not_found
from run_items import run_json
from run_listing import Listing, fitting, list_runs, position_of
from run_states import TRANSITIONS
from run_store import RunStore
from service import (
    act_of,
    app,
    audit,
    caller_of_change,
    caller_of_read,
    identity,
    json_answer,
    known_caller,
    loaded_routes,
    log_act,
    logger,
    no_content,
)

table = required(os.environ, "RUNS_TABLE")
client = dynamodb()
runs = RunStore(
    client,
    table,
    audit=audit,
    now=time.time,
    new_id=lambda: str(ULID()),
    mark=unregistered_mark if base_url(os.environ, "AUTHORIZATION_SERVICE_URL") else no_mark,
)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of the load balancer, in the shape in which it came.

    https://docs.aws.amazon.com/lambda/latest/dg/services-alb.html
    """
    logger.append_keys(request_id=context.aws_request_id)
    if "/runners" in event.get("path", ""):
        load_runner_routes()
    try:
        return app.resolve(event, context)
    finally:
        sight.flush(failed_fetches=identity.failed_fetches())


@cache
def load_runner_routes() -> None:
    """Put the routes about runners on the app, with the first request for one.

    A cold start that creates a run goes without them, and is 8 ms the shorter.
    """
    import serve_runners  # noqa: F401, PLC0415 - to import it is to have its routes


def routes() -> Sequence[Route]:
    """All that is answered: the OpenAPI document is made from it."""
    load_runner_routes()
    return loaded_routes()


@app.get("/healthz")
def check_health() -> Response[str]:
    """Constant: anyone may call it, so it tells nothing and costs nothing."""
    return json_answer(200, {"status": "ok"})


@app.get("/v1/whoami")
def show_caller() -> Response[str]:
    """Who the caller is. 401 where nobody is known, even where nobody may call."""
    caller = known_caller()
    return json_answer(
        200,
        {
            "executed_by": caller.identity,
            "kind": caller.kind,
            "source": caller.source,
            "on_behalf_of": None,
        },
    )


@app.post("/v1/projects/<project>/runs")
def create_run(project: str) -> Response[str]:
    """Create a run in the caller's name: 201, or 200 where its `Idempotency-Key` made it before."""
    creator = caller_of_change()
    project = path_name(project, of="project")
    key = run_requests.idempotency_key(app.current_event)
    body = run_requests.create_run(app.current_event)
    if key is None:
        run = runs.create(body, project=project, act=act_of(creator))
        outcome = "created"
    else:
        run, outcome = runs.create_once(body, project=project, act=act_of(creator), key=key)
    log_act(f"run {outcome}", creator, project=project, run=run["id"]["S"])
    location = f"/v1/projects/{project}/runs/{run['id']['S']}"
    return json_answer(201 if outcome == "created" else 200, run_json(run), {"Location": location})


@app.get("/v1/projects/<project>/runs")
def list_project_runs(project: str) -> Response[str]:
    """A project's runs, newest first."""
    caller = caller_of_read()
    return _list_runs(path_name(project, of="project"), caller)


@app.get("/v1/runs")
def list_created_runs() -> Response[str]:
    """One creator's runs across projects, newest first."""
    return _list_runs(None, caller_of_read())


@app.get("/v1/projects/<project>/runs/<run_id>")
def show_run(project: str, run_id: str) -> Response[str]:
    """One run."""
    caller_of_read()
    return json_answer(200, run_json(runs.get(*_run_key(project, run_id))))


@app.post("/v1/projects/<project>/runs/<run_id>/<change>")
def change_run(project: str, run_id: str, change: str) -> Response[str]:
    """Start, finish, fail or cancel a run: 409 with its state where that does not follow."""
    actor = caller_of_change()
    transition = TRANSITIONS.get(change)
    if transition is None:
        raise not_found()
    project, run_id = _run_key(project, run_id)
    run = runs.change(project, run_id, transition=transition, act=act_of(actor))
    log_act(f"run {transition.after}", actor, project=project, run=run_id)
    return json_answer(200, run_json(run))


@app.delete("/v1/projects/<project>/runs/<run_id>")
def delete_run(project: str, run_id: str) -> Response[str]:
    """Delete a run: 204, and 404 where there is none."""
    actor = caller_of_change()
    project, run_id = _run_key(project, run_id)
    runs.delete(project, run_id, act=act_of(actor))
    log_act("run deleted", actor, project=project, run=run_id)
    return no_content()


def _list_runs(project: str | None, caller: Caller | None) -> Response[str]:
    query = read_query(app.current_event, run_requests.ListRuns)
    creator, issuer = query.created_by, None
    if creator == "me":
        if caller is None:
            raise Rejected("no_credentials", "nobody is known, so nothing is theirs")
        creator, issuer = caller.subject, caller.issuer
    if project is None and creator is None:
        raise Problem(400, "invalid_parameter", "`created_by` is needed across projects.")
    listing = Listing(project, creator, issuer, query.status)
    binding = repr(listing)
    after = decode_cursor(query.cursor, query=binding) if query.cursor else None
    found, position = list_runs(client, table, listing, limit=query.limit, after=after)
    shown = fitting([run_json(run) for run in found])
    if len(shown) < len(found):
        position = position_of(found[len(shown) - 1])
    next_cursor = encode_cursor(position, query=binding) if position else None
    return json_answer(200, {"runs": shown, "next_cursor": next_cursor})


def _run_key(project: str, run_id: str) -> tuple[str, str]:
    return path_name(project, of="project"), run_requests.run_id(run_id)


if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
    from priming import prime

    load_runner_routes()
    prime(handler, identity=identity)

if os.environ.get("POWERTOOLS_TRACE_DISABLED") == "false":
    # An operator's choice: it patches botocore, which costs a cold start about 280 ms.
    from aws_lambda_powertools import Tracer

    tracer = Tracer(patch_modules=["botocore"])
    handler = tracer.capture_lambda_handler(handler, capture_response=False)

end_init()
