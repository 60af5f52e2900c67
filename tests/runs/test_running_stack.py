"""The running stack answers as the OpenAPI document says: real HTTP, runtime and token.

`make property` sends twenty times as many random requests.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.stack import Stack
from tests.identity.alb_tokens import segments_of
from tests.runs import contract

EXAMPLES = os.environ.get("OPENAPI_EXAMPLES", "5")
"""The number of random requests for each operation, beside those that the document suggests."""

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SCHEMATHESIS = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or ""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The running stack, with its logs in a folder."""
    with Stack(log_folder=tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    """A token of the service account."""
    answer = httpx.post(
        f"{stack.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=("nightly-train", "nightly-train-secret"),
    )
    token: str = answer.json()["access_token"]
    return token


@pytest.mark.stack
def test_running_stack_passes_all_checks_of_the_document(
    stack: Stack, token: str, tmp_path: Path
) -> None:
    """All checks of schemathesis pass.

    No answer is a 5xx or undeclared. No bad request is accepted, and no good one is refused. No
    request is accepted without the token.
    """
    run = subprocess.run(
        [
            SCHEMATHESIS,
            *("--config-file", str(CONFIGURATION)),
            *("run", str(contract.DOCUMENT)),
            *("--url", stack.url),
            *("--exclude-method", "HEAD"),  # answered by the code of GET
            *("--header", f"Authorization: Bearer {token}"),
            *("--checks", "all"),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", EXAMPLES),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        capture_output=True,
        text=True,
        timeout=1_200,
        check=False,
    )
    assert run.returncode == 0, run.stdout.replace(token, "…")
    assert "Tested: 51" in run.stdout
    log = stack.log_text()
    assert '"message":"unexpected error"' not in log
    assert not [segment for segment in segments_of([token]) if segment in log]
