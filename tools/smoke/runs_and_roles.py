"""A run is created once, read, started, cancelled and deleted; a role is granted and revoked."""

import secrets
from functools import partial
from typing import Any
from urllib.parse import urlencode

import httpx

from tools.smoke.endpoint import Endpoint, expect, seen
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed, NotChecked, interrupt_deferred


def check(surroundings: Surroundings, cleanup: Cleanup) -> str:
    """Make the requests of the runbook's first deployment as the caller of BYLINE_TOKEN."""
    endpoint = surroundings.endpoint
    caller = endpoint.whoami()
    if caller["source"] != "bearer":
        raise Failed('"source": "bearer"', str(caller["source"]))
    run = create_run(surroundings, cleanup, key=secrets.token_hex(16))
    path = f"{_runs(surroundings)}/{run['id']}"
    read = endpoint.call("GET", path)
    expect(read, 200, "GET of the run")
    if read.json()["executed_by"] != caller["executed_by"]:
        raise Failed("`executed_by` of the caller", "another one")
    expect(endpoint.call("POST", f"{path}/start"), 200, "starting the run")
    cancelled = endpoint.call("POST", f"{path}/cancel")
    expect(cancelled, 200, "cancelling the run")
    if cancelled.json()["status"] != "cancelled":
        raise Failed("a cancelled run", cancelled.json()["status"])
    expect(endpoint.call("DELETE", path), 204, "deleting the run")
    expect(endpoint.call("GET", path), 404, "GET of the deleted run")
    _grant_and_revoke(surroundings, cleanup)
    return f"as {caller['kind']} in project {surroundings.project}"


def create_run(surroundings: Surroundings, cleanup: Cleanup, *, key: str) -> dict[str, Any]:
    """A new run, created twice with one `Idempotency-Key`; deleted by `cleanup`.

    Raises `NotChecked` where the caller of BYLINE_TOKEN may not create runs.
    """
    endpoint, runs = surroundings.endpoint, _runs(surroundings)
    create = partial(
        endpoint.call, "POST", runs, headers={"idempotency-key": key}, body={"name": "smoke"}
    )
    with interrupt_deferred():
        first = create()
        if first.status_code == 201:
            path = f"{runs}/{first.json()['id']}"
            cleanup.add(f"run {path}", partial(delete, endpoint, path))
    if first.status_code in (403, 404):
        raise NotChecked(
            f"BYLINE_TOKEN may not create runs in project {surroundings.project}; name a project of"
            " its caller in PROJECT"
        )
    expect(first, 201, "creating a run")
    run: dict[str, Any] = first.json()
    again = create()
    expect(again, 200, "creating it again with the same Idempotency-Key")
    if again.json()["id"] != run["id"]:
        raise Failed("the same run for the same Idempotency-Key", "another run")
    return run


def delete(endpoint: Endpoint, path: str) -> None:
    """Delete what is at `path`. Raises `Failed` unless it is gone."""
    answer: httpx.Response = endpoint.call("DELETE", path)
    if answer.status_code not in (204, 404):
        raise Failed(f"204 for DELETE of {path}", seen(answer))


def _grant_and_revoke(surroundings: Surroundings, cleanup: Cleanup) -> None:
    """A role for a principal that cannot exist: its issuer is a reserved name (RFC 2606)."""
    endpoint = surroundings.endpoint
    bindings = f"/v1/projects/{surroundings.project}/role-bindings"
    binding = {
        "role": "project:viewer",
        "kind": "application",
        "issuer": "https://smoke.invalid",
        "subject": f"smoke-{secrets.token_hex(8)}",
    }
    path = f"{bindings}?{urlencode(binding)}"
    with interrupt_deferred():
        granted = endpoint.call("PUT", bindings, body=binding)
        if granted.status_code == 201:
            cleanup.add(f"role of {binding['subject']}", partial(delete, endpoint, path))
    if granted.status_code == 403:
        raise NotChecked(
            f"runs: ok. BYLINE_TOKEN may not grant roles in project {surroundings.project}"
        )
    expect(granted, 201, "granting a role")
    expect(endpoint.call("DELETE", path), 204, "revoking the role")


def _runs(surroundings: Surroundings) -> str:
    return f"/v1/projects/{surroundings.project}/runs"
