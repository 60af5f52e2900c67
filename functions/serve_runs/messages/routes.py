"""The routes of RunsFunction about messages: what is said in a run, by people and by its runner.

caller → the run and who executes it → policy → row, or rows behind what the reader has.
"""

import os
import time

from aws_lambda_powertools.event_handler import Response

from byline.aws import dynamodb
from byline.identity.caller import Caller, Principal
from byline.settings import required
from byline.tables.items import Item
from serve_runs.access.control import Access
from serve_runs.messages.requests import ListMessages, PostMessage
from serve_runs.messages.store import MessageStore
from serve_runs.messages.views import message_json
from serve_runs.runners.store import RunnerStore
from serve_runs.runners.tokens import own_principal
from serve_runs.runs import requests as run_requests
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
    runners_table,
)
from serve_runs.web.problems import forbidden, not_found
from serve_runs.web.requests import path_name, read_body, read_query

POLL_SECONDS = 1.0

ANSWER_SECONDS = 1.0
"""What is left of an invocation's time for the answer, when the waiting ends."""

NO_RUNNER = "-"
"""The name of no runner."""

messages = MessageStore(dynamodb(), required(os.environ, "RUNS_TABLE"), now=time.time)
runners = RunnerStore(dynamodb(), runners_table, audit=audit, now=time.time)


@app.get("/v1/projects/<project>/runs/<run_id>/messages")
def list_messages(project: str, run_id: str) -> Response[str]:
    """A run's messages behind the one of the id `after`, the oldest first; with `wait`, for so many
    seconds, until there is one."""
    caller = caller_of_read()
    project, run = path_name(project, of="project"), run_requests.run_id(run_id)
    query = read_query(app.current_event, ListMessages)
    _require("read_messages", caller, project, run)
    found = messages.after(project, run, after=query.after, limit=query.limit)
    if query.wait and not found:
        found = _wait(project, run, query)
        # Meanwhile rights may have been taken away, and the run deleted.
        _require("read_messages", caller, project, run)
    shown = fitting([message_json(item) for item in found])
    next_after = shown[-1]["id"] if shown else query.after
    return json_answer(200, {"messages": shown, "next_after": next_after})


@app.post("/v1/projects/<project>/runs/<run_id>/messages")
def post_message(project: str, run_id: str) -> Response[str]:
    """Say something in a run, as a user or as its runner: 201, or 200 where its `Idempotency-Key`
    said it before."""
    actor = caller_of_change()
    project, run = path_name(project, of="project"), run_requests.run_id(run_id)
    key = run_requests.idempotency_key(app.current_event)
    body = read_body(app.current_event, PostMessage)
    access = _require(f"post_{body.role}_message", actor, project, run)
    act = act_of(actor, access)
    item, outcome = messages.post(project, run, message=body, act=act, key=key)
    log_act(f"message {outcome}", actor, project=project, run=run, role=body.role)
    return json_answer(201 if outcome == "created" else 200, message_json(item))


# `POST …/runs/<run_id>/<change>` was there before, and would take it for a change of state.
app._dynamic_routes.insert(0, app._dynamic_routes.pop())


def _require(action: str, caller: Caller | None, project: str, run: str) -> Access:
    """What the caller may do in the project, after it was found to be permitted `action`.

    Raises `Problem`: 403 to whoever may see the run or read its messages, else 404. The reads
    depend on the caller alone, never on what there is.
    """
    access = access_of(caller, project)
    found = messages.find_run(project, run)
    # A person is nobody's runner.
    is_application = caller is not None and caller.kind == "application"
    executor = _executor(project, found) if is_application else None
    resource = access.resource("Run", run, executor=executor)
    if not access.may(action, resource):
        knows = access.may("read_run", resource) or access.may("read_messages", resource)
        raise forbidden() if knows and found is not None else not_found()
    if found is None:
        raise not_found()
    return access


def _executor(project: str, run: Item | None) -> Principal | None:
    """The service account that a run's runner is, as it is registered now."""
    name = NO_RUNNER if run is None else run.get("runner", {}).get("S", NO_RUNNER)
    row = runners.find(project, name)
    return None if row is None else own_principal(row)


def _wait(project: str, run: str, query: ListMessages) -> list[Item]:
    """The messages as soon as there are any; none when the time is over."""
    left = app.lambda_context.get_remaining_time_in_millis() / 1000 - ANSWER_SECONDS
    until = time.monotonic() + min(query.wait, left)
    found: list[Item] = []
    while not found and (rest := until - time.monotonic()) > 0:
        time.sleep(min(POLL_SECONDS, rest))
        found = messages.after(project, run, after=query.after, limit=query.limit)
    return found
