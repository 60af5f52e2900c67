"""Credentials of machines: OAuth clients, GitHub and GitLab jobs, AWS roles."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, told
from tests.client.test_faults import CALLER

JOB_TOKEN = f"e30.{base64.urlsafe_b64encode(json.dumps({'exp': 4e9}).encode()).decode()}.c2ln"
GITHUB = "https://token.actions.githubusercontent.com"


def service(*issuers: "dict[str, str]") -> Any:
    """Answers of a service that accepts tokens of these issuers, and of GitHub's token endpoint."""

    def answer(request: Received) -> Told:
        if request.path.startswith("/.well-known/oauth-protected-resource"):
            resource = f"http://{request.headers['host']}"
            return Told(200, json.dumps({"resource": resource, "byline_issuers": issuers}))
        if request.path.startswith("/github"):
            is_asked_by_job = request.headers["authorization"] == "Bearer request-token"
            return Told(200, json.dumps({"value": JOB_TOKEN})) if is_asked_by_job else Told(401)
        if request.headers.get("authorization") == f"Bearer {JOB_TOKEN}":
            return Told(200, json.dumps(CALLER))
        return Told(401)

    return answer


def test_github_job_asks_for_the_services_audience(byline: CommandLine) -> None:
    """A job with `id-token: write` needs the address of the service and nothing else."""
    accepted = {"issuer": GITHUB, "profile": "github", "audience": "byline & co"}
    with told(service(accepted)) as server:
        done = byline.having(
            BYLINE_URL=server.url,
            ACTIONS_ID_TOKEN_REQUEST_URL=f"{server.url}/github?api-version=2.0",
            ACTIONS_ID_TOKEN_REQUEST_TOKEN="request-token",
        )("whoami", "--json")
        paths = [request.path for request in server.received]
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["credential"] == "github"
    assert "/github?api-version=2.0&audience=byline%20%26%20co" in paths
    assert JOB_TOKEN not in done.stdout + done.stderr


def test_github_job_of_a_service_without_github_is_told_why(byline: CommandLine) -> None:
    """A service that does not accept GitHub's tokens is named, before a token is requested."""
    with told(service()) as server:
        done = byline.having(
            BYLINE_URL=server.url,
            ACTIONS_ID_TOKEN_REQUEST_URL=f"{server.url}/github?x=1",
            ACTIONS_ID_TOKEN_REQUEST_TOKEN="request-token",
        )("whoami")
    assert done.returncode == 1
    assert "does not accept tokens of github" in done.stderr


def test_gitlab_job_uses_its_identity_token(byline: CommandLine) -> None:
    """`id_tokens: BYLINE_ID_TOKEN` in `.gitlab-ci.yml` is all that a job needs."""
    with told(service()) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_ID_TOKEN=JOB_TOKEN)
        done = ready("whoami", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["credential"] == "gitlab"


@pytest.mark.stack
@pytest.mark.parametrize("place", ["variable", "file"])
def test_client_gets_its_own_token(
    byline: CommandLine, stack: RunningStack, tmp_path: Path, place: str
) -> None:
    """An OAuth client proves itself with its secret, from a variable or a file."""
    (tmp_path / "secret").write_text("nightly-train-secret\n")
    secret = (
        {"BYLINE_CLIENT_SECRET": "nightly-train-secret"}
        if place == "variable"
        else {"BYLINE_CLIENT_SECRET_FILE": str(tmp_path / "secret")}
    )
    ready = byline.having(BYLINE_URL=stack.url, BYLINE_CLIENT_ID="nightly-train", **secret)
    done = ready("whoami", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["who"]["executed_by"]["subject"] == "nightly-train"
    assert document["credential"] == "client-credentials"


@pytest.mark.stack
def test_wrong_secret_exits_with_four_and_is_not_shown(
    byline: CommandLine, stack: RunningStack
) -> None:
    """An issuer's refusal names its code, never the secret."""
    done = byline.having(
        BYLINE_URL=stack.url, BYLINE_CLIENT_ID="nightly-train", BYLINE_CLIENT_SECRET="hush-hush"
    )("whoami")
    assert done.returncode == 4
    assert "invalid_client" in done.stderr
    assert "hush-hush" not in done.stderr


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"BYLINE_CLIENT_ID": "a"}, "BYLINE_CLIENT_SECRET"),
        ({"BYLINE_CLIENT_SECRET": "hush-hush"}, "BYLINE_CLIENT_ID"),
        ({"BYLINE_CLIENT_ID": "a", "BYLINE_CLIENT_SECRET_FILE": "/none"}, "SECRET_FILE"),
        ({"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x.example/"}, "REQUEST_TOKEN"),
        (
            {
                "ACTIONS_ID_TOKEN_REQUEST_URL": "http://x.example/",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "hush-hush",
            },
            "REQUEST_URL must be an https",
        ),
    ],
)
def test_half_a_credential_is_wrong_usage(
    byline: CommandLine, environ: "dict[str, str]", missing: str
) -> None:
    """A credential that is only partly there is an error, and no other one is tried."""
    done = byline.having(BYLINE_URL="https://byline.example", **environ)("whoami")
    assert done.returncode == 2
    assert missing in done.stderr
    assert "hush-hush" not in done.stderr


def test_aws_role_signs_its_own_token(byline: CommandLine) -> None:
    """A role gets a token for the service's audience from `sts:GetWebIdentityToken`."""
    pytest.importorskip("boto3", reason="boto3 is an extra of the client")
    accepted = {"issuer": "https://aws.example", "profile": "aws", "audience": "byline"}
    base = service(accepted)

    def answer(request: Received) -> Told:
        if "Action=GetWebIdentityToken" in request.body:
            assert "Audience.member.1=byline" in request.body
            result = f"<WebIdentityToken>{JOB_TOKEN}</WebIdentityToken>"
            document = (
                "<GetWebIdentityTokenResponse"
                " xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>"
                f"<GetWebIdentityTokenResult>{result}</GetWebIdentityTokenResult>"
                "</GetWebIdentityTokenResponse>"
            )
            return Told(200, document, "text/xml")
        told_by_service: Told = base(request)
        return told_by_service

    with told(answer) as server:
        done = byline.having(
            BYLINE_URL=server.url,
            BYLINE_CREDENTIAL="aws",
            AWS_ENDPOINT_URL=server.url,
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_DEFAULT_REGION="us-east-1",
        )("whoami", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["credential"] == "aws"
    assert JOB_TOKEN not in done.stdout + done.stderr
