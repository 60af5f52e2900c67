"""A runner gets its first token, and a tick replaces it."""

import secrets
import time
from functools import partial
from typing import Any

from byline.names import is_name
from byline.refresh.runner_rows import read_runner, runner_key
from byline.refresh.token_rows import TokenRow, read_token_row
from byline.tables.rows import ConditionFailed, write_row
from tools.smoke.endpoint import expect
from tools.smoke.runs_and_roles import delete
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed, NotChecked, interrupt_deferred

FIRST_TOKEN_SECONDS = 60
DUE_SECONDS = 5
"""The token becomes due so much later. The worker of the first token has then looked for more work,
so only a tick can find it."""
REPLACED_SECONDS = 180
"""Two ticks and the work that starts on the minute after each."""


def check(surroundings: Surroundings, cleanup: Cleanup) -> str:
    """Register a runner with the operator's client, wait for two tokens, delete the runner.

    The runner is isolated, so no other runner's token is made due.
    """
    endpoint = surroundings.endpoint
    endpoint.token()
    project, _, client = surroundings.client.partition("/")
    if not is_name(project) or not is_name(client):
        raise NotChecked("CLIENT names no client, as project/client")
    name = f"smoke-{secrets.token_hex(4)}"
    path = f"/v1/projects/{project}/runners/{name}"
    with interrupt_deferred():
        registered = endpoint.call("PUT", path, body={"client": client, "isolated": True})
        is_refused = registered.status_code in (403, 404)
        if not is_refused:
            cleanup.add(f"runner {path}", partial(delete, endpoint, path))
    if is_refused:
        raise NotChecked(f"BYLINE_TOKEN may not register runners in project {project}")
    expect(registered, 201, "registering a runner")

    first = _token(surroundings, path, seconds=FIRST_TOKEN_SECONDS, what="a first token")
    before = _token_row(surroundings, project, name)
    _make_due(surroundings, project, name)

    def is_replaced() -> bool | None:
        return _token_row(surroundings, project, name).generation > before.generation or None

    if surroundings.wait_for(is_replaced, seconds=REPLACED_SECONDS) is None:
        row = _token_row(surroundings, project, name)
        error = "no error" if row.last_error is None else row.last_error.error_class
        raise Failed("another token after the next tick", f"the same one, {error}")
    _token(surroundings, path, seconds=0, what="a live token after the next tick")
    return f"first one until {first['expires_at']}"


def _token(surroundings: Surroundings, path: str, *, seconds: float, what: str) -> dict[str, Any]:
    """The runner once it is ready. Raises `Failed`, with the class of its last error."""
    runner: dict[str, Any] = {}

    def ready() -> bool | None:
        answer = surroundings.endpoint.call("GET", path)
        expect(answer, 200, "GET of the runner")
        runner.update(answer.json())
        # `failing` ends the wait: the class of its error says more than silence.
        return runner["status"] in ("ready", "failing") or None

    surroundings.wait_for(ready, seconds=seconds)
    if runner["status"] != "ready":
        error = (runner["last_error"] or {}).get("class", "no error")
        raise Failed(what, f"{runner['status']}, {error}")
    return runner


def _token_row(surroundings: Surroundings, project: str, name: str) -> TokenRow:
    stack = surroundings.stack
    read = partial(
        stack.client("dynamodb").get_item,
        TableName=stack.outputs["RunnersTable"],
        ConsistentRead=True,
    )
    runner = read_runner(read(Key=runner_key(project, name))["Item"])
    return read_token_row(read(Key=runner.token_key)["Item"])


def _make_due(surroundings: Surroundings, project: str, name: str) -> None:
    """Make the token due soon, unless something else changed the row in the meantime."""
    stack = surroundings.stack
    client, row = stack.client("dynamodb"), _token_row(surroundings, project, name)
    due_at = int(time.time()) + DUE_SECONDS
    if row.due_at is None or row.due_at <= due_at:
        return
    update = partial(
        client.update_item,
        TableName=stack.outputs["RunnersTable"],
        Key=row.key,
        UpdateExpression="SET due_at = :soon",
        ConditionExpression="id = :id AND generation = :generation AND due_at = :due",
        ExpressionAttributeValues={
            ":soon": {"N": str(due_at)},
            ":generation": {"N": str(row.generation)},
            ":id": {"S": row.id},
            ":due": {"N": str(row.due_at)},
        },
    )
    try:
        write_row(client, update)
    except ConditionFailed:
        return  # a tick has just replaced the token
