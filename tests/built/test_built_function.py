"""RunsFunction's artifact in Lambda's runtime interface client, without other packages."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from local.lambda_runtime import FunctionHost, InitializationType
from tests.built.artifact import create_run, function_of
from tests.runs.identity_server import NO_CREDENTIAL, Web
from tests.runs.runs_api import request
from tests.runs.table_server import DynamoDb

pytestmark = pytest.mark.built


@pytest.mark.parametrize("initialization", get_args(InitializationType))
def test_artifact_creates_a_run_in_the_callers_name(
    built: Path,
    runtime: Path,
    environment: dict[str, str],
    web: Web,
    initialization: InitializationType,
) -> None:
    """The built function puts the verified person or application on the run it creates."""
    function = function_of(built, environment, initialization=initialization)
    ada = web.browser("ada", given_name="Ada", family_name="Lovelace")
    nightly = web.bearer("nightly", client="nightly")
    with FunctionHost(function, python=runtime) as host:
        health = host.invoke(request("GET", "/healthz", by=NO_CREDENTIAL))
        by_ada = host.invoke(create_run(ada))
        by_nightly = host.invoke(create_run(nightly))
    assert health["statusCode"] == 200
    assert (by_ada["statusCode"], by_nightly["statusCode"]) == (201, 201)
    assert json.loads(by_ada["body"])["executed_by"]["user"]["spec"]["firstName"] == "Ada"
    assert (
        json.loads(by_nightly["body"])["executed_by"]["application"]["id"]["subject"] == "nightly"
    )


def test_artifact_refuses_a_request_without_a_credential(
    built: Path, runtime: Path, environment: dict[str, str], dynamodb: DynamoDb
) -> None:
    """The built function answers 401 and writes no row."""
    rows = len(dynamodb.rows())
    with FunctionHost(function_of(built, environment), python=runtime) as host:
        answer = host.invoke(create_run(NO_CREDENTIAL))
    assert answer["statusCode"] == 401
    assert len(dynamodb.rows()) == rows


def test_cold_start_compiles_nothing(
    built: Path, runtime: Path, environment: dict[str, str], web: Web, tmp_path: Path
) -> None:
    """Until the end of the first create, every module of the artifact is loaded from byte code."""
    function = function_of(built, {**environment, "PYTHONVERBOSE": "1"})
    log = tmp_path / "log"
    with log.open("wb") as file, FunctionHost(function, python=runtime, log=file) as host:
        assert host.invoke(create_run(web.bearer()))["statusCode"] == 201
    output = log.read_text(errors="replace")
    loaded = re.findall(r"^# code object from '?(\S+?)'?$", output, re.MULTILINE)
    ours = [path for path in loaded if path.startswith(str(built))]
    assert len(ours) > 100
    assert [path for path in ours if not path.endswith(".pyc")] == []
