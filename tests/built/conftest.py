"""A Python without other packages, and AWS on loopback."""

import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from shutil import copy2
from venv import EnvBuilder

import pytest

from tests.runs.identity_server import Web, serve_identities
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, serve_dynamodb

RUNTIME_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""The packages that Lambda's image has for running a function."""


@pytest.fixture(scope="session")
def layer(built: Path) -> Path:
    """The folder that Lambda mounts as /opt/python."""
    return built / "IdentityLayer/python"


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a Python with the runtime interface client and no other package."""
    folder = tmp_path_factory.mktemp("runtime")
    EnvBuilder(symlinks=True).create(folder)
    packages = folder / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for name in RUNTIME_CLIENT:
        for file in distribution(name).files or []:
            if ".." not in file.parts:
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                copy2(file.locate(), target)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[DynamoDb]:
    """A server with empty tables."""
    with serve_dynamodb() as server:
        server.reset()
        yield server


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """A server with the region's public keys and an issuer."""
    with serve_identities() as server:
        yield server


@pytest.fixture
def environment(dynamodb: DynamoDb, web: Web) -> dict[str, str]:
    """RunsFunction's environment variables, with credentials as Lambda sets them."""
    return {
        **web.environment(),
        "RUNS_TABLE": TABLE,
        "RUNNERS_TABLE": "RunnersTable",
        "ACCESS_TABLE": ACCESS_TABLE,
        "SECRET_PREFIX": "stage",
        "POWERTOOLS_SERVICE_NAME": "stage",
        "REFRESH_QUEUE_URL": f"{dynamodb.url}/123456789012/RefreshQueue",
        "POWERTOOLS_TRACE_DISABLED": "true",
        "AWS_ENDPOINT_URL": dynamodb.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
