"""The artifacts of the refreshing functions in Lambda's runtime interface client."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byline.refresh.token_rows import TokenRow
from local.lambda_runtime import FunctionHost
from tests.built.artifact import function_of
from tests.refresh.world import SECRETS, TABLE, World, new_world
from tests.runs.table_server import ACCESS_TABLE
from tests.runs.table_server import TABLE as RUNS_TABLE
from tools import refresh_events

pytestmark = pytest.mark.built


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """AWS with its limits, an issuer, and the queue of work units."""
    with new_world() as world:
        world.aws.observer("sqs").create_queue(QueueName="RefreshQueue")
        yield world


@pytest.fixture
def due(world: World) -> TokenRow:
    """The row of a token that is due."""
    return world.register("trainer")


@pytest.fixture
def environment(world: World) -> dict[str, str]:
    """The environment variables of both functions, with credentials as Lambda sets them."""
    queue = world.aws.observer("sqs").get_queue_url(QueueName="RefreshQueue")
    return {
        "RUNNERS_TABLE": TABLE,
        "REFRESH_QUEUE_URL": queue["QueueUrl"],
        "WRITES_PER_SECOND": "20",
        "DEFAULT_TOKEN_LIFETIME": "300",
        "SECRET_PREFIX": SECRETS.prefix,
        "RUNS_TABLE": RUNS_TABLE,
        "ACCESS_TABLE": ACCESS_TABLE,
        "POWERTOOLS_SERVICE_NAME": "stage",
        "POWERTOOLS_TRACE_DISABLED": "true",
        "AWS_ENDPOINT_URL": world.aws.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "PYTHONVERBOSE": "1",
    }


def invoke(name: str, event: Any, *, built: Path, runtime: Path, log: Path, **more: Any) -> Any:
    """The answer of a function that is started for this one event."""
    with (
        log.open("wb") as file,
        FunctionHost(function_of(built, name=name, **more), python=runtime, log=file) as host,
    ):
        return host.invoke(event)


def compiled_modules(log: Path, built: Path) -> list[str]:
    """The modules of the artifact that were compiled because they had no byte code."""
    loaded = re.findall(
        r"^# code object from '?(\S+?)'?$", log.read_text(errors="replace"), re.MULTILINE
    )
    ours = [path for path in loaded if path.startswith(str(built))]
    assert len(ours) > 100
    return [path for path in ours if not path.endswith(".pyc")]


def test_artifact_sends_the_work_unit_of_a_due_runner(
    built: Path,
    runtime: Path,
    environment: dict[str, str],
    world: World,
    due: TokenRow,
    tmp_path: Path,
) -> None:
    """A tick makes the built PlanRefreshFunction send the due runner's work unit to the queue."""
    log = tmp_path / "log"
    answer = invoke(
        "PlanRefreshFunction",
        refresh_events.tick(),
        built=built,
        runtime=runtime,
        log=log,
        environment=environment,
    )
    assert answer == {"units": 1}
    sent = world.aws.observer("sqs").receive_message(QueueUrl=environment["REFRESH_QUEUE_URL"])
    [message] = sent["Messages"]
    assert message["Body"] == f'{{"shard":"{due.shard}","project":"payments"}}'
    assert compiled_modules(log, built) == []


def test_artifact_refreshes_the_token_of_a_due_runner(
    built: Path,
    runtime: Path,
    environment: dict[str, str],
    world: World,
    due: TokenRow,
    tmp_path: Path,
) -> None:
    """The built RefreshTokensFunction writes the new token, and no log line has it."""
    assert due.shard is not None
    log = tmp_path / "log"
    answer = invoke(
        "RefreshTokensFunction",
        refresh_events.refresh_unit(due.shard, project="payments"),
        built=built,
        runtime=runtime,
        log=log,
        environment=environment,
    )
    assert answer == {"batchItemFailures": []}
    row = world.row("trainer")
    assert row is not None
    assert row.generation == due.generation + 1
    token = world.token(row)["token"]
    assert token not in log.read_text(errors="replace")
    assert compiled_modules(log, built) == []
