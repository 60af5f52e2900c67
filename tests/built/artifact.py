"""What the tests of the artifact share: where things are, and the request that counts."""

import json
from pathlib import Path
from typing import Any

from local.lambda_runtime import Function
from tests.runs.identity_server import Credential
from tests.runs.runs_api import request

ROOT = Path(__file__).parents[2]
SAM = ROOT / ".venv-sam/bin/sam"


def function_of(built: Path, environment: dict[str, str], **more: Any) -> Function:
    """RunsFunction, from its artifact and its layer's."""
    code = (built / "RunsFunction", built / "IdentityLayer/python")
    return Function(handler="serve_runs.handler", code=code, environment=environment, **more)


def create_run(by: Credential) -> dict[str, Any]:
    """The event of a create."""
    return request(
        "POST",
        "/v1/projects/apollo/runs",
        by=by,
        headers=[("content-type", "application/json")],
        body=json.dumps({"name": "nightly"}),
    )
