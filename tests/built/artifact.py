"""Shared by the tests of the artifact: the functions, and the event that creates a run."""

import json
from pathlib import Path
from typing import Any

from local.lambda_runtime import Function
from tests.runs.identity_server import Credential
from tests.runs.runs_api import request

ROOT = Path(__file__).parents[2]
SAM = ROOT / ".venv-sam/bin/sam"

FUNCTIONS = {
    "RunsFunction": "serve_runs",
    "WebConsole/ServeConsoleFunction": "serve_console",
    "PlanRefreshFunction": "plan_refresh",
    "RefreshTokensFunction": "refresh_tokens",
    "RegisterResourcesFunction": "register_resources",
}
"""The artifact, named by the logical id, → the package that has its module `handler`."""


def function_of(
    built: Path, environment: dict[str, str], *, name: str = "RunsFunction", **more: Any
) -> Function:
    """A function that runs from the artifact of the function and that of the layer."""
    code = (built / name, built / "IdentityLayer/python")
    handler = f"{FUNCTIONS[name]}.handler.handler"
    return Function(handler=handler, code=code, environment=environment, name=name, **more)


def create_run(by: Credential) -> dict[str, Any]:
    """The event of a request that creates a run."""
    return request(
        "POST",
        "/v1/projects/apollo/runs",
        by=by,
        headers=[("content-type", "application/json")],
        body=json.dumps({"name": "nightly"}),
    )
