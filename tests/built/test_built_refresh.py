"""The built functions of the background at work, in Lambda's runtime interface client."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byline.refresh.runner_rows import RunnerRow
from local.lambda_runtime import FunctionHost
from tests.built.artifact import function_of
from tests.refresh.world import TABLE, World, new_world
from tools import refresh_events

pytestmark = pytest.mark.built


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """AWS with its limits, and an issuer."""
    with new_world() as world:
        world.aws.observer("sqs").create_queue(QueueName="RefreshQueue")
        yield world


@pytest.fixture
def runner(world: World) -> RunnerRow:
    """A runner that is due."""
    return world.register("trainer")


@pytest.fixture
def environment(world: World) -> dict[str, str]:
    """Both functions' variables, and Lambda's credentials."""
    queue = world.aws.observer("sqs").get_queue_url(QueueName="RefreshQueue")
    return {
        "RUNNERS_TABLE": TABLE,
        "REFRESH_QUEUE_URL": queue["QueueUrl"],
        "WRITES_PER_SECOND": "20",
        "DEFAULT_TOKEN_LIFETIME": "300",
        "POWERTOOLS_TRACE_DISABLED": "true",
        "AWS_ENDPOINT_URL": world.aws.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "PYTHONVERBOSE": "1",
    }


def invoke(name: str, event: Any, *, built: Path, runtime: Path, log: Path, **more: Any) -> Any:
    with (
        log.open("wb") as file,
        FunctionHost(function_of(built, name=name, **more), python=runtime, log=file) as host,
    ):
        return host.invoke(event)


def compiled_here(log: Path, built: Path) -> list[str]:
    """The modules of the artifact that did not come as byte code."""
    loaded = re.findall(
        r"^# code object from '?(\S+?)'?$", log.read_text(errors="replace"), re.MULTILINE
    )
    ours = [path for path in loaded if path.startswith(str(built))]
    assert len(ours) > 100
    return [path for path in ours if not path.endswith(".pyc")]


def test_artifact_plans_what_is_due(
    built: Path,
    runtime: Path,
    environment: dict[str, str],
    world: World,
    runner: RunnerRow,
    tmp_path: Path,
) -> None:
    """Built, started and invoked as Lambda does it, a tick sends the unit of the due runner."""
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
    assert message["Body"] == f'{{"shard":"{runner.shard}","project":"payments"}}'
    assert compiled_here(log, built) == []


def test_artifact_gives_a_due_runner_its_token(
    built: Path,
    runtime: Path,
    environment: dict[str, str],
    world: World,
    runner: RunnerRow,
    tmp_path: Path,
) -> None:
    """Mint, put and commit, with what the artifact has, and without the token in its log."""
    assert runner.shard is not None
    log = tmp_path / "log"
    answer = invoke(
        "RefreshTokensFunction",
        refresh_events.refresh_unit(runner.shard, project="payments"),
        built=built,
        runtime=runtime,
        log=log,
        environment=environment,
    )
    assert answer == {"batchItemFailures": []}
    row = world.row("trainer")
    assert row is not None
    assert row.generation == runner.generation + 1
    token = world.token(row)["token"]
    assert token not in log.read_text(errors="replace")
    assert compiled_here(log, built) == []
