"""The sample events about runners, and those of the background functions."""

import json
from copy import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from byline.refresh.token_rows import TokenRow, read_token_row, token_item
from byline.refresh.work_units import MintKey, SecretNames, version_token
from byline.settings import secret_prefix
from local.stack import Stack
from tests.events.samples import NIGHTLY_TRAIN, event
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, DynamoDb
from tools.make_events import PROJECT, SAMPLE_RUNNERS, SAMPLE_RUNNERS_CLIENT, SAMPLE_SHARD
from tools.sample_runners import seed

TOKEN = "a-token-of-the-forecaster"
EXPIRES_AT = 4_102_444_800


@pytest.fixture
def forecaster(api: RunsApi, table: DynamoDb) -> TokenRow:
    """The first sample runner, after RefreshTokensFunction has given it a token."""
    del api
    runner, _ = seed(table.client, RUNNERS_TABLE, ACCESS_TABLE)
    row = replace(
        runner.token,
        runners=2,
        generation=1,
        slot=0,
        slots=1,
        issued_at=EXPIRES_AT - 900,
        expires_at=EXPIRES_AT,
        refreshed_at=EXPIRES_AT - 900,
        lifetime=900,
    )
    table.client.put_item(TableName=RUNNERS_TABLE, Item=token_item(row))
    expires_at, issued_at = (
        datetime.fromtimestamp(at, UTC).isoformat() for at in (EXPIRES_AT, EXPIRES_AT - 900)
    )
    names = SecretNames(secret_prefix(event("env")["RunsFunction"]))
    name = names.token(row.project, row.client, row.id, 0)
    secrets = boto3.client("secretsmanager", endpoint_url=table.url)
    secrets.create_secret(
        Name=name,
        ClientRequestToken=version_token(name, row.generation),
        SecretString=json.dumps(
            {
                "token": TOKEN,
                "token_type": "Bearer",
                "issued_at": issued_at,
                "expires_at": expires_at,
                "generation": row.generation,
            }
        ),
    )
    return row


def test_register_runner_sent_again_is_a_restart(api: RunsApi) -> None:
    """The first answer is 201 with the service account, and the second one is 200."""
    first, second = (api.send(event("register-runner")) for _ in range(2))
    assert (first.status, second.status) == (201, 200)
    assert first.json["registered_by"] == NIGHTLY_TRAIN
    assert first.json["subject"] == "nightly-train"


def test_list_runners_returns_the_sample_runners(api: RunsApi, forecaster: TokenRow) -> None:
    """The runners are listed by name, without a token."""
    answer = api.send(event("list-runners"))
    assert [runner["name"] for runner in answer.json["runners"]] == sorted(SAMPLE_RUNNERS)
    assert TOKEN not in answer.body


def test_get_runner_returns_a_sample_runner(api: RunsApi, forecaster: TokenRow) -> None:
    """The runner has the status of its token, without the token."""
    answer = api.send(event("get-runner"))
    assert (answer.status, answer.json["status"]) == (200, "ready")
    assert TOKEN not in answer.body


def test_get_runner_token_returns_the_runners_own_token(api: RunsApi, forecaster: TokenRow) -> None:
    """A runner's token is given to the service account that is the runner."""
    answer = api.send(event("get-runner-token"))
    assert (answer.status, answer.json["token"]) == (200, TOKEN)


def test_refresh_runner_makes_the_runners_token_due(api: RunsApi, forecaster: TokenRow) -> None:
    """The answer is 202, and a second request is too early."""
    first, second = (api.send(event("refresh-runner")) for _ in range(2))
    assert (first.status, first.json["token"]) == (202, forecaster.id)
    assert (second.status, second.reason) == (429, "too_many_refreshes")


def test_list_tokens_returns_the_token_of_the_sample_runners(
    api: RunsApi, forecaster: TokenRow
) -> None:
    """Both sample runners share it, and its text is not shown."""
    answer = api.send(event("list-tokens"))
    [token] = answer.json["tokens"]
    assert (token["id"], token["runners"]) == (forecaster.id, len(SAMPLE_RUNNERS))
    assert TOKEN not in answer.body


def test_get_runner_token_of_another_is_forbidden(api: RunsApi, forecaster: TokenRow) -> None:
    """An admin may see the runner, but may not read its token."""
    answer = api.send(event("get-runner-token-of-another"))
    assert (answer.status, answer.reason) == (403, "forbidden")


def test_delete_runner_deletes_its_runner(api: RunsApi, forecaster: TokenRow) -> None:
    """The answers are 204, then 404, and the other runner stays."""
    assert [api.send(event("delete-runner")).status for _ in range(2)] == [204, 404]
    assert api.send(event("get-runner")).status == 200


def test_refresh_unit_names_the_shard_of_the_sample_runners() -> None:
    """The shard in the event is the one of the runners' registration."""
    key = MintKey.of(project=PROJECT, client=SAMPLE_RUNNERS_CLIENT)
    [record] = event("refresh-unit")["Records"]
    assert json.loads(record["body"]) == {"shard": SAMPLE_SHARD, "project": PROJECT}
    assert (key.work_unit.shard, key.work_unit.project) == (SAMPLE_SHARD, PROJECT)


@pytest.mark.stack
def test_background_events_refresh_the_sample_runners() -> None:
    """`refresh-unit` gives the sample runners their token, and `tick` then finds none due."""
    with Stack() as stack:
        stack.give_client(PROJECT, SAMPLE_RUNNERS_CLIENT)
        dynamodb = stack.aws.client("dynamodb")
        seed(dynamodb, RUNNERS_TABLE, ACCESS_TABLE)
        answer = stack.functions["RefreshTokensFunction"].invoke(event("refresh-unit"))
        assert answer == {"batchItemFailures": []}
        rows: list[Any] = dynamodb.scan(TableName=RUNNERS_TABLE)["Items"]
        partition = f"tokens#{PROJECT}"
        [token] = [read_token_row(row) for row in rows if row["project"]["S"] == partition]
        assert token.runners == len(SAMPLE_RUNNERS)
        assert token.slot is not None
        assert stack.functions["PlanRefreshFunction"].invoke(event("tick")) == {"units": 0}
