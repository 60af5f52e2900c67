"""Runners' tokens from Secrets Manager: `--from secrets-manager` and `RunnerAuth`."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import byline_client
import httpx
import pytest
from byline_client.conversation import ServiceCall
from byline_client.runner_secrets import RunnerSecrets

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, problem, told

boto3 = pytest.importorskip("boto3", reason="boto3 is an extra of the client")
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:byline/tokens/research/trainer"
AWS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


def secret(token: str, *, seconds: float, generation: int) -> str:
    """The value of a secret as Byline writes it."""
    now = datetime.now(timezone.utc)
    times = {"issued_at": now, "expires_at": now + timedelta(seconds=seconds)}
    texts = {name: f"{time:%Y-%m-%dT%H:%M:%S}Z" for name, time in times.items()}
    return json.dumps({"token": token, "token_type": "Bearer", **texts, "generation": generation})


def both(secrets: "dict[str, str]", *, is_up: Callable[[], bool] = lambda: True) -> Any:
    """Answers of Byline, which names the secrets, and of Secrets Manager, which has them."""
    arns = [f"{ARN}/{slot}" for slot in range(3)]

    def answer(request: Received) -> Told:
        if not request.headers.get("x-amz-target", ""):
            document = {"name": "trainer", "status": "ready", "secret_arns": arns}
            return Told(200, json.dumps(document)) if is_up() else problem(503, "store_unavailable")
        arn = json.loads(request.body)["SecretId"]
        value = secrets.get(arn.rpartition("/")[2])
        if value is None or value.startswith("!"):
            code = value[1:] if value else "ResourceNotFoundException"
            return Told(400, json.dumps({"__type": code}), "application/x-amz-json-1.1")
        document = {"ARN": arn, "SecretString": value}
        return Told(200, json.dumps(document), "application/x-amz-json-1.1")

    return answer


def role(byline: CommandLine, url: str) -> CommandLine:
    """The command with a credential of Byline and of AWS."""
    return byline.facing(url).having(**AWS, AWS_ENDPOINT_URL=url)


def test_newest_of_several_secrets_is_used(byline: CommandLine) -> None:
    """A token with a short life is in several secrets, of which some have an old one or none."""
    secrets = {
        "0": secret("old", seconds=20, generation=7),
        "1": secret("new", seconds=300, generation=8),
    }
    with told(both(secrets)) as server:
        done = role(byline, server.url)("token", "trainer", "--from", "secrets-manager", "--show")
    assert (done.returncode, done.stdout) == (0, "new\n"), done.stderr


def test_secrets_of_a_changed_runner_are_found(tmp_path: Path) -> None:
    """A runner with another token has other secrets, whose names are read when they are needed."""
    names = ["a"]

    def answer(request: Received) -> Told:
        if "x-amz-target" not in request.headers:
            arns = [f"{ARN}/{name}" for name in names]
            return Told(200, json.dumps({"name": "trainer", "secret_arns": arns}))
        name = json.loads(request.body)["SecretId"].rpartition("/")[2]
        value = secret(f"token-{name}", seconds=300 if name == names[0] else -1, generation=1)
        return Told(200, json.dumps({"SecretString": value}), "application/x-amz-json-1.1")

    with told(answer) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in {**AWS, "AWS_ENDPOINT_URL": server.url}.items():
            patch.setenv(name, value)
        calls: list[str] = []

        def ask(call: ServiceCall) -> Any:
            calls.append(call.path)
            return httpx.get(f"{server.url}{call.path}").json()

        secrets = RunnerSecrets(ask, "research", "trainer")
        read = [secrets.read().token.reveal() for _ in range(2)]
        names[:] = ["b"]
        read.append(secrets.read().token.reveal())
    assert read == ["token-a", "token-a", "token-b"]
    assert calls == ["/v1/projects/research/runners/trainer"] * 2


@pytest.mark.parametrize(
    ("secrets", "code", "words"),
    [
        ({}, 3, "no secret of the runner has a token yet"),
        ({"0": "!AccessDeniedException"}, 1, "AccessDeniedException"),
        ({"0": "!ThrottlingException"}, 3, "ThrottlingException"),
        ({"0": "hush"}, 3, "has no token"),
        ({"0": '{"token": "hush"}'}, 3, "has no token"),
    ],
)
def test_unreadable_secret_is_a_clear_error(
    byline: CommandLine, secrets: "dict[str, str]", code: int, words: str
) -> None:
    """The error names the secret and AWS's own code, and never a value."""
    with told(both(secrets)) as server:
        done = role(byline, server.url)("token", "trainer", "--from", "secrets-manager", "--show")
    assert (done.returncode, done.stdout) == (code, "")
    assert words.lower() in done.stderr.lower()
    assert "hush" not in done.stderr
    assert "Traceback" not in done.stderr


def test_role_without_credentials_exits_with_four(byline: CommandLine) -> None:
    """A machine without a role is told so."""
    with told(both({})) as server:
        ready = byline.facing(server.url).having(
            AWS_ENDPOINT_URL=server.url, AWS_EC2_METADATA_DISABLED="true"
        )
        done = ready("token", "trainer", "--from", "secrets-manager", "--show")
    assert done.returncode == 4
    assert "no credentials for AWS" in done.stderr


def test_requests_go_on_through_an_outage_and_log_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A program reads the next token while Byline is down, and botocore's log has none of them."""
    caplog.set_level(logging.DEBUG)
    outage: list[str] = []
    secrets = {"0": secret("first-token", seconds=31, generation=1)}
    with (
        told(both(secrets, is_up=lambda: not outage)) as server,
        told(lambda got: Told(200 if "second" in got.headers["authorization"] else 401)) as api,
    ):
        for name, value in {**AWS, "AWS_ENDPOINT_URL": server.url}.items():
            monkeypatch.setenv(name, value)
        environ = {
            "BYLINE_URL": server.url,
            "BYLINE_TOKEN": "a.b.c",
            "BYLINE_CONFIG_DIR": str(tmp_path),
        }
        auth = byline_client.RunnerAuth(
            "trainer", project="research", source="secrets-manager", environ=environ
        )
        with httpx.Client(auth=auth) as client:
            assert client.get(api.url).status_code == 401
            outage.append("Byline is down")
            secrets["1"] = secret("second-token", seconds=300, generation=2)
            assert client.get(api.url).status_code == 200

        async def program() -> int:
            async with httpx.AsyncClient(auth=auth) as client:
                return (await client.get(api.url)).status_code

        assert asyncio.run(program()) == 200
    assert "botocore" in caplog.text
    assert "first-token" not in caplog.text
    assert "second-token" not in caplog.text


@pytest.mark.stack
def test_token_in_the_secret_is_the_one_of_the_api(
    byline: CommandLine, stack: RunningStack, tmp_path: Path
) -> None:
    """A runner's token that Byline wrote is found by the names that its document has."""
    client = boto3.client(
        "secretsmanager",
        endpoint_url=stack.aws,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    document = {
        "issuer": stack.issuer,
        "client_id": "nightly-train",
        "auth_method": "client_secret_basic",
        "client_secret": "nightly-train-secret",
    }
    client.create_secret(
        Name="byline/clients/secrets/nightly-train", SecretString=json.dumps(document)
    )
    job = byline.having(
        BYLINE_URL=stack.url,
        BYLINE_TOKEN=stack.machine_token(),
        BYLINE_PROJECT="secrets",
        AWS_ENDPOINT_URL=stack.aws,
        **AWS,
    )
    words = ("--client", "nightly-train", "--subject", "nightly-train", "--wait")
    registered = job("runners", "register", "trainer", *words)
    assert registered.returncode == 0, registered.stderr
    shown = job("token", "trainer", "--show")
    file = tmp_path / "token"
    done = job("token", "trainer", "--from", "secrets-manager", "--file", str(file))
    assert done.returncode == 0, done.stderr
    assert f"{file.read_text()}\n" == shown.stdout
