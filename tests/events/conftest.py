"""RunsFunction in the environment of `sam local invoke`, with tables that hold the samples."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from byline.aws import secrets_manager, sqs
from tests.events.samples import event
from tests.runs.identity_server import serve_identities
from tests.runs.runs_api import RunsApi, build_function, log_to_standard_output
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, serve_dynamodb
from tools.make_events import EVENTS
from tools.sample_runs import seed


@pytest.fixture(scope="module")
def table() -> Iterator[DynamoDb]:
    """A DynamoDB server."""
    with serve_dynamodb() as server:
        yield server


@pytest.fixture(scope="module")
def function(table: DynamoDb) -> Iterator[Any]:
    """RunsFunction in the environment of `sam local invoke`.

    Only the addresses of keys and AWS are changed, not whose they are.
    """
    environment = dict(event("env")["RunsFunction"])
    with serve_identities() as web:
        for path in (EVENTS / "keys").glob("*.*"):
            web.publish(f"/{path.name.removesuffix('.pem')}", path.read_bytes())
        (issuer,) = json.loads(environment["TRUSTED_ISSUERS"])
        issuer["jwks_uri"] = f"{web.url}/issuer.jwks.json"
        environment |= {
            "TRUSTED_ISSUERS": json.dumps([issuer]),
            "ALB_PUBLIC_KEYS_URL": web.url,
            "AWS_ENDPOINT_URL": table.url,
        }
        yield build_function(environment)


@pytest.fixture
def api(function: Any, table: DynamoDb, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunsApi]:
    """The function with tables that hold the sample runs and no runners."""
    table.reset()
    seed(table.client, TABLE, ACCESS_TABLE)
    log_to_standard_output()
    # The clients are cached, and read the endpoint from the environment when they are built.
    monkeypatch.setenv("AWS_ENDPOINT_URL", table.url)
    sqs.cache_clear()
    secrets_manager.cache_clear()
    yield RunsApi(function)
    sqs.cache_clear()
    secrets_manager.cache_clear()
