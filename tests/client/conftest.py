"""Fixtures of the client's tests. They run with and without the project's environment."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.client.commands import ROOT, CommandLine

PROJECT_PYTHON = os.environ.get("BYLINE_PROJECT_PYTHON") or str(ROOT / ".venv/bin/python")


@dataclass(frozen=True)
class RunningStack:
    """The local stack, which runs in another process."""

    url: str
    issuer: str
    aws: str

    def machine_token(self, client: str = "nightly-train") -> str:
        """An access token of a machine client of the OpenID provider."""
        form = {"grant_type": "client_credentials"}
        answer = httpx.post(f"{self.issuer}/token", data=form, auth=(client, f"{client}-secret"))
        return str(answer.json()["access_token"])


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """The local stack, started with the project's Python."""
    command = [PROJECT_PYTHON, "-m", "tests.local.running_stack"]
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    environ["PYTHONPATH"] = os.pathsep.join(
        str(ROOT / each) for each in ("layers/identity", "functions", ".")
    )
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the local stack did not start"
        yield RunningStack(**json.loads(line))
        process.stdin.close()
        process.wait(timeout=60)


@pytest.fixture
def byline(tmp_path: Path) -> CommandLine:
    """The command `byline`, with a folder of settings of its own."""
    return CommandLine(tmp_path / "config", {})
