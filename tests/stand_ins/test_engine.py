"""The implementation of AWS behind the stand-ins is the selected one."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stand_ins.aws_server import serve_aws
from stand_ins.engine import MINISTACK, MOTO, dynamodb_of_new_account, selected_engine
from tests.runs.table_server import TABLE, serve_dynamodb, table_definition

ROOT = Path(__file__).parents[2]


def is_moto(client: Any) -> bool:
    """Whether moto answers: it names the endpoint of AWS, and ministack names its own."""
    [endpoint] = client.describe_endpoints()["Endpoints"]
    return bool(endpoint["Address"].endswith(".amazonaws.com"))


def test_dynamodb_of_the_runs_is_the_selected_engine() -> None:
    """Requests that the server for RunsFunction does not answer itself reach the engine."""
    with serve_dynamodb() as server, closing(server.client) as client:
        assert is_moto(client) == (selected_engine() == MOTO)


def test_dynamodb_of_the_refresh_is_the_selected_engine() -> None:
    """Requests that the server for the refresh does not answer itself reach the engine."""
    with serve_aws() as aws, closing(aws.client("dynamodb")) as client:
        assert is_moto(client) == (selected_engine() == MOTO)


def test_new_account_is_empty() -> None:
    """The tables of one test are not there in the next."""
    for _ in range(2):
        with dynamodb_of_new_account() as client:
            assert client.list_tables()["TableNames"] == []
            client.create_table(**table_definition(TABLE))


def test_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value does not select moto."""
    monkeypatch.setenv("BYLINE_TEST_ENGINE", "other")
    with pytest.raises(ValueError, match="Engines: moto, ministack"):
        selected_engine()


def test_run_with_too_few_tests_fails() -> None:
    """`make test-second-engine` does not pass because its tests were not found."""
    test = "tests/repository/test_required.py"
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.second_engine", test],
        cwd=ROOT,
        env={**os.environ, "BYLINE_TEST_ENGINE": MINISTACK},
        check=False,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED
    assert "2 tests passed. At least" in finished.stdout
