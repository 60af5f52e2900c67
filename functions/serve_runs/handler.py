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
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.utilities.typing import LambdaContext
from ulid import ULID

from byline.aws import dynamodb
from byline.errors import Rejected
from byline.identity.caller import Caller, read_executed_by
from byline.registration.outbox import no_outbox_entry, outbox_entry
from byline.settings import base_url, choice, required
from byline.tables.items import Item
from serve_runs import metrics as sight
from serve_runs.access.context import Act
from serve_runs.access.control import Access
from serve_runs.runs import requests as run_requests
from serve_runs.runs.items import run_json
from serve_runs.runs.listing import Listing, fitting, id_of, list_merged, list_visible
from serve_runs.runs.names import named_runs
from serve_runs.runs.parents import ParentRuns
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import RunStore
from serve_runs.service import (
    access_control,
    access_of,
    access_table,
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
    people,
    runners_table,
)
from serve_runs.web.cursors import decode_text, encode_text
from serve_runs.web.problems import Problem, not_found
from serve_runs.web.requests import path_name, read_query

table = required(os.environ, "RUNS_TABLE")
LATER_ROUTES = {
    "/runners": "serve_runs.runners.routes",
    "/role-bindings": "serve_runs.role_bindings.routes",
    "/service-accounts": "serve_runs.service_accounts.routes",
    "/audit": "serve_runs.audit.routes",
    "/credentials": "serve_runs.credentials.routes",
    "/messages": "serve_runs.messages.routes",
}
"""What a path has in it, and the module that brings its routes."""

NO_PROJECT = "-"
"""The name of no project."""

client = dynamodb()
project_claims = None
if choice(os.environ, "PROJECT_CREATION", of=("admins", "anyone")) == "anyone":
    from serve_runs.role_bindings.new_projects import ProjectClaims
    from serve_runs.role_bindings.store import RoleStore

    project_claims = ProjectClaims(
        client,
        RoleStore(client, access_table, now=time.time),
        audit=audit,
        runs_table=table,
        runners_table=runners_table,
    )
runs = RunStore(
    client,
    table,
    audit=audit,
    now=time.time,
    new_id=lambda: str(ULID()),
    mark=outbox_entry if base_url(os.environ, "AUTHORIZATION_SERVICE_URL") else no_outbox_entry,
)
parent_runs = ParentRuns(runs, client, runners_table=runners_table)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of the load balancer, in the shape in which it came.

    https://docs.aws.amazon.com/lambda/latest/dg/services-alb.html
    """
    logger.append_keys(request_id=context.aws_request_id)
    load_routes(event.get("path", ""))
    try:
        return app.resolve(event, context)
    finally:
        sight.flush(failed_fetches=identity.failed_fetches())


def load_routes(path: str) -> None:
    """Put the routes that `path` may mean on the app, with the first request for one of them.

    A cold start that creates a run goes without them: about runners alone it would be 8 ms longer.
    """
    for part, module in LATER_ROUTES.items():
        if part in path:
            _load(module)


@cache
def _load(module: str) -> None:
    import_module(module)


def routes() -> Sequence[Route]:
    """All that is answered: the OpenAPI document is made from it."""
    for part in LATER_ROUTES:
        load_routes(part)
    return loaded_routes()


@app.get("/healthz")
def check_health() -> Response[str]:
    """Constant: anyone may call it, so it tells nothing and costs nothing."""
    return json_answer(200, {"status": "ok"})


@app.get("/v1/whoami")
def show_caller() -> Response[str]:
    """Who the caller is. 401 where nobody is known, even where nobody may call."""
    caller = known_caller()
    acts_for = access_control.acts_for(caller)
    return json_answer(
        200,
        {
            "executed_by": caller.identity,
            "kind": caller.kind,
            "source": caller.source,
            "on_behalf_of": None if acts_for is None else read_executed_by(acts_for.identity),
        },
    )


@app.post("/v1/projects/<project>/runs")
def create_run(project: str) -> Response[str]:
    """Create a run in the caller's name: 201, or 200 where its `Idempotency-Key` made it before."""
    creator = caller_of_change()
    project = path_name(project, of="project")
    key = run_requests.idempotency_key(app.current_event)
    body = run_requests.create_run(app.current_event)
    run, outcome = _create(body, creator, project=project, key=key)
    log_act(f"run {outcome}", creator, project=project, run=run["id"]["S"])
    location = f"/v1/projects/{project}/runs/{run['id']['S']}"
    return json_answer(201 if outcome == "created" else 200, run_json(run), {"Location": location})


@app.get("/v1/projects/<project>/runs")
def list_project_runs(project: str) -> Response[str]:
    """A project's runs, newest first."""
    caller = caller_of_read()
    project = path_name(project, of="project")
    access_of(caller, project).require("read_run")
    return _list_runs(project, caller)


@app.get("/v1/runs")
def list_created_runs() -> Response[str]:
    """One creator's runs across the projects that the caller may see, newest first."""
    return _list_runs(None, caller_of_read())


@app.get("/v1/projects/<project>/runs/<run_id>")
def show_run(project: str, run_id: str) -> Response[str]:
    """One run."""
    caller = caller_of_read()
    project, run_id = _run_key(project, run_id)
    access_of(caller, project).require("read_run")
    [run] = named_runs([runs.get(project, run_id)], people=people)
    return json_answer(200, run)


@app.post("/v1/projects/<project>/runs/<run_id>/<change>")
def change_run(project: str, run_id: str, change: str) -> Response[str]:
    """Start, finish, fail or cancel a run: 409 with its state where that does not follow."""
    actor = caller_of_change()
    transition = TRANSITIONS.get(change)
    if transition is None:
        raise not_found()
    project, run_id = _run_key(project, run_id)
    access = _required(f"{transition.name}_run", actor, project, run_id)
    run = runs.change(project, run_id, transition=transition, act=act_of(actor, access))
    log_act(f"run {transition.after}", actor, project=project, run=run_id)
    return json_answer(200, run_json(run))


@app.delete("/v1/projects/<project>/runs/<run_id>")
def delete_run(project: str, run_id: str) -> Response[str]:
    """Delete a run: 204, and 404 where there is none."""
    actor = caller_of_change()
    project, run_id = _run_key(project, run_id)
    access = _required("delete_run", actor, project, run_id)
    runs.delete(project, run_id, act=act_of(actor, access))
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
    after = decode_text(query.cursor, query=binding) if query.cursor else None
    pages = list_merged
    if project is None:
        pages = partial(list_visible, visible=partial(_visible, caller=caller))
    found, last = pages(client, table, _of_whom(listing), limit=query.limit, after=after)
    shown = fitting(named_runs(found, people=people))
    if len(shown) < len(found):
        last = id_of(found[len(shown) - 1])
    next_cursor = encode_text(last, query=binding) if last else None
    return json_answer(200, {"runs": shown, "next_cursor": next_cursor})


def _of_whom(listing: Listing) -> list[Listing]:
    """The listing of a subject, and where that looks like an e-mail, of those whose it is."""
    if listing.creator is None or listing.creator_issuer is not None or "@" not in listing.creator:
        return [listing]
    owners = people.with_email(listing.creator)
    return [
        listing,
        *(replace(listing, creator=owner.subject, creator_issuer=owner.issuer) for owner in owners),
    ]


def _create(
    body: run_requests.CreateRun, creator: Caller | None, *, project: str, key: str | None
) -> tuple[Item, str]:
    access = access_of(creator, project)
    act = act_of(creator, access)
    claim: list[Any] = []
    if project_claims is not None:
        access, claim = project_claims.claimed(access, act)
    access.require("create_run")
    if body.parent_run is not None:
        try:
            act = parent_runs.child_act(body.parent_run, access=access, act=act)
        except Problem:
            # A key gives the run that it made, whatever became of the parent since.
            before = key and runs.created_before(body, project=project, act=act, key=key)
            if not before:
                raise
            return before, "repeated"
    try:
        return _write_run(body, act, project=project, key=key, claim=claim)
    except client.exceptions.TransactionCanceledException:
        if not claim:
            raise
    # Somebody's first run came between: the project is theirs.
    access = access_of(creator, project)
    access.require("create_run")
    return _write_run(body, act_of(creator, access), project=project, key=key, claim=[])


def _write_run(
    body: run_requests.CreateRun, act: Act, *, project: str, key: str | None, claim: Any
) -> tuple[Item, str]:
    if key is None:
        return runs.create(body, project=project, act=act, claim=claim), "created"
    return runs.create_once(body, project=project, act=act, key=key, claim=claim)


def _visible(found: list[Item], caller: Caller | None) -> list[Item]:
    """Those of other projects' runs that the caller may see. Where there is none, rights are read
    all the same, so that the time that it takes tells of no others."""
    projects = list(dict.fromkeys(run["project"]["S"] for run in found)) or [NO_PROJECT]
    accesses = access_control.of_all(caller, projects)
    seen = {project for project, access in accesses.items() if access.may("read_run")}
    return [run for run in found if run["project"]["S"] in seen]


def _required(action: str, actor: Caller | None, project: str, run_id: str) -> Access:
    """What the actor may do in the project, after it was found to be permitted `action`."""
    access = access_of(actor, project)
    run = access.resource("Run", run_id)
    access.require(action, run, find=lambda: runs.get(project, run_id))
    return access


def _run_key(project: str, run_id: str) -> tuple[str, str]:
    return path_name(project, of="project"), run_requests.run_id(run_id)


if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
    from serve_runs.priming import prime

    routes()
    prime(handler, identity=identity)

if os.environ.get("POWERTOOLS_TRACE_DISABLED") == "false":
    # An operator's choice: it patches botocore, which costs a cold start about 280 ms.
    from aws_lambda_powertools import Tracer

    tracer = Tracer(patch_modules=["botocore"])
    handler = tracer.capture_lambda_handler(handler, capture_response=False)

end_init()
