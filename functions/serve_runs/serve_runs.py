"""RunsFunction: answers every request that the load balancer forwards.

load balancer → one credential, verified → caller → one conditional write → answer.
The routes below are the whole story; `run_store` holds what they do to the table.
"""

from byline.init_phase import end_init  # stops the garbage collector, so it is the first

# isort: split
import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import ALBResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.typing import LambdaContext
from ulid import ULID

import run_requests
import sight
from byline.aws import dynamodb
from byline.caller import Caller
from byline.errors import Rejected
from byline.identity import Identity
from byline.settings import Settings, required
from cursors import decode_cursor, encode_cursor
from failures import answer_failure
from problems import Problem, method_not_allowed, not_found
from run_items import run_json
from run_listing import Listing, fitting, list_runs, position_of
from run_states import TRANSITIONS
from run_store import RunStore

logger = Logger(service="byline")
settings = Settings.from_environment(os.environ)
identity = Identity(settings)
table = required(os.environ, "RUNS_TABLE")
client = dynamodb()
runs = RunStore(client, table, now=time.time, new_id=lambda: str(ULID()))
app = ALBResolver()

if settings.trust != "verify":
    logger.warning(
        "callers are not verified: whoever reaches this function can be anybody",
        identity_trust=settings.trust,
    )


def routes() -> Sequence[Route]:
    """All that is answered. Powertools has no public way to ask."""
    return (*app._static_routes, *app._dynamic_routes)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of the load balancer, in the shape in which it came.

    https://docs.aws.amazon.com/lambda/latest/dg/services-alb.html
    """
    logger.append_keys(request_id=context.aws_request_id)
    try:
        return app.resolve(event, context)
    finally:
        sight.flush(failed_fetches=identity.failed_fetches())


@app.get("/healthz")
def check_health() -> Response[str]:
    """Constant: anyone may call it, so it tells nothing and costs nothing."""
    return _json(200, {"status": "ok"})


@app.get("/v1/whoami")
def show_caller() -> Response[str]:
    """Who the caller is. 401 where nobody is known, even where nobody may call."""
    caller = _known_caller()
    return _json(
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
    creator = _caller_of_change()
    project = run_requests.project_name(project)
    key = run_requests.idempotency_key(app.current_event)
    body = run_requests.create_run(app.current_event)
    if key is None:
        run = runs.create(body, project=project, creator=creator, request_id=_request_id())
        outcome = "created"
    else:
        run, outcome = runs.create_once(
            body, project=project, creator=creator, request_id=_request_id(), key=key
        )
    _log_change(f"run {outcome}", project, run["id"]["S"], creator)
    location = f"/v1/projects/{project}/runs/{run['id']['S']}"
    return _json(201 if outcome == "created" else 200, run_json(run), {"Location": location})


@app.get("/v1/projects/<project>/runs")
def list_project_runs(project: str) -> Response[str]:
    """A project's runs, newest first."""
    caller = identity.identify(app.current_event)
    return _list_runs(run_requests.project_name(project), caller)


@app.get("/v1/runs")
def list_created_runs() -> Response[str]:
    """One creator's runs across projects, newest first."""
    return _list_runs(None, identity.identify(app.current_event))


@app.get("/v1/projects/<project>/runs/<run_id>")
def show_run(project: str, run_id: str) -> Response[str]:
    """One run."""
    identity.identify(app.current_event)
    return _json(200, run_json(runs.get(*_run_key(project, run_id))))


@app.post("/v1/projects/<project>/runs/<run_id>/<change>")
def change_run(project: str, run_id: str, change: str) -> Response[str]:
    """Start, finish, fail or cancel a run: 409 with its state where that does not follow."""
    actor = _caller_of_change()
    transition = TRANSITIONS.get(change)
    if transition is None:
        raise not_found()
    project, run_id = _run_key(project, run_id)
    run = runs.change(project, run_id, transition=transition, actor=actor, request_id=_request_id())
    _log_change(f"run {transition.after}", project, run_id, actor)
    return _json(200, run_json(run))


@app.delete("/v1/projects/<project>/runs/<run_id>")
def delete_run(project: str, run_id: str) -> Response[str]:
    """Delete a run: 204, and 404 where there is none."""
    actor = _caller_of_change()
    project, run_id = _run_key(project, run_id)
    runs.delete(project, run_id, actor=actor, request_id=_request_id())
    _log_change("run deleted", project, run_id, actor)
    return Response(status_code=204, body="", headers={"Cache-Control": "no-store"})


def _list_runs(project: str | None, caller: Caller | None) -> Response[str]:
    query = run_requests.list_runs(app.current_event)
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
    return _json(200, {"runs": shown, "next_cursor": next_cursor})


def _known_caller() -> Caller:
    caller = identity.identify(app.current_event)
    if caller is None:
        raise Rejected("no_credentials", "the request carries no credential that counts")
    return caller


def _caller_of_change() -> Caller | None:
    caller = identity.identify(app.current_event)
    if caller is not None and caller.source == "alb":
        run_requests.refuse_cross_site(app.current_event)
    return caller


def _run_key(project: str, run_id: str) -> tuple[str, str]:
    return run_requests.project_name(project), run_requests.run_id(run_id)


def _request_id() -> str:
    return app.lambda_context.aws_request_id


def _json(status: int, document: Any, headers: dict[str, str] | None = None) -> Response[str]:
    return Response(
        status_code=status,
        content_type="application/json",
        body=msgspec.json.encode(document).decode(),
        # Answers differ by caller: no cache on the way may keep one.
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _log_change(message: str, project: str, run_id: str, actor: Caller | None) -> None:
    logger.info(
        message,
        project=project,
        run=run_id,
        actor=actor and actor.subject,
        actor_issuer=actor and actor.issuer,
    )


def _answer_failure(error: Exception) -> Response[str]:
    return answer_failure(error, request_id=_request_id())


def _answer_unknown_route(_: NotFoundError) -> Response[str]:
    path = app.current_event.path
    allowed = sorted({route.method for route in routes() if route.rule.match(path)})
    return _answer_failure(method_not_allowed(allowed) if allowed else not_found())


app.exception_handler(Exception)(_answer_failure)
app.not_found(_answer_unknown_route)


if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
    from priming import prime

    prime(handler, identity=identity, client=client)

if os.environ.get("POWERTOOLS_TRACE_DISABLED") == "false":
    # An operator's choice: it patches botocore, which costs a cold start about 280 ms.
    from aws_lambda_powertools import Tracer

    tracer = Tracer(patch_modules=["botocore"])
    handler = tracer.capture_lambda_handler(handler, capture_response=False)

end_init()
