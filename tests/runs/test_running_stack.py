"""The OpenAPI document against the running stack: real HTTP, the real runtime, a real token."""

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

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SCHEMATHESIS = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or ""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(log_folder=tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    """The service account's."""
    answer = httpx.post(
        f"{stack.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=("nightly-train", "nightly-train-secret"),
    )
    token: str = answer.json()["access_token"]
    return token


@pytest.mark.stack
def test_running_stack_keeps_every_promise_of_the_document(
    stack: Stack, token: str, tmp_path: Path
) -> None:
    """schemathesis, with all its checks: no 5xx, no undeclared status, header, type or shape, no
    bad request accepted, no good one refused, no way in without the token."""
    run = subprocess.run(
        [
            SCHEMATHESIS,
            *("--config-file", str(CONFIGURATION)),
            *("run", str(contract.DOCUMENT)),
            *("--url", stack.url),
            *("--header", f"Authorization: Bearer {token}"),
            *("--checks", "all"),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", "20"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout.replace(token, "…")
    assert "Tested: 31" in run.stdout
    log = stack.log_text()
    assert '"message":"unexpected error"' not in log
    assert not [segment for segment in segments_of([token]) if segment in log]
