"""All four functions in Lambda's own runtime, with every switch that makes a library talk.

An operator can set these variables for a function, and looks at its log afterwards.
"""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.openid_provider import ADA
from local.stack import Stack
from stand_ins.authorization_service import AuthorizationStandIn, serve_authorization

pytestmark = pytest.mark.stack

SWITCHES = {
    "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
    "LOG_LEVEL": "DEBUG",
    "POWERTOOLS_DEBUG": "true",
    "POWERTOOLS_DEV": "true",
    "POWERTOOLS_LOG_LEVEL": "DEBUG",
    "POWERTOOLS_LOGGER_LOG_EVENT": "true",
    "POWERTOOLS_LOGGER_SAMPLE_RATE": "1",
    "POWERTOOLS_TRACER_CAPTURE_ERROR": "true",
    "POWERTOOLS_TRACER_CAPTURE_RESPONSE": "true",
    "RUST_LOG": "trace",
}
PROJECT = "/v1/projects/research"
STORED = "ghp_stored-by-ada"


@pytest.fixture
def service() -> Iterator[AuthorizationStandIn]:
    """The authorization service, so that RegisterResourcesFunction runs too."""
    with serve_authorization() as service:
        yield service


def wait_for(read: Any) -> Any:
    """What `read` returns, as soon as that is true. Fails after a minute."""
    end = time.monotonic() + 60
    while not (found := read()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def test_no_switch_makes_a_token_appear_in_a_log(service: AuthorizationStandIn) -> None:
    """Callers' tokens, a stored credential, a client secret and runners' tokens stay out."""
    with (
        Stack(authorization_service_url=service.url, environment=SWITCHES, tick_seconds=1) as stack,
        httpx.Client(base_url=stack.url, follow_redirects=True) as ada,
    ):
        page = ada.get("/v1/whoami", headers={"accept": "text/html"})
        ada.post(page.url, data={"person": ADA.subject})
        grant = {"role": "credential:token-reader", "subject": ADA.subject}
        assert ada.put(f"{PROJECT}/role-bindings", json=grant).status_code == 201
        credential = f"{PROJECT}/credentials/github"
        put = ada.put(credential, json={"provider": "github", "token": STORED})
        assert put.status_code == 201
        assert ada.get(f"{credential}/token").json()["token"] == STORED

        stack.give_client("research", "nightly-train")
        runner = f"{PROJECT}/runners/trainer"
        body = {"client": "nightly-train", "subject": "nightly-train"}
        assert ada.put(runner, json=body).status_code == 201
        ready = wait_for(lambda: ada.get(runner).json()["secret_arn"])
        secret = stack.aws.client("secretsmanager").get_secret_value(SecretId=ready)
        minted = secret["SecretString"].split('"token":"')[1].partition('"')[0]

        own = httpx.post(
            f"{stack.issuer}/token",
            data={"grant_type": "client_credentials"},
            auth=("nightly-train", "nightly-train-secret"),
        ).json()["access_token"]
        for token, status in ((own, 200), (f"{own[:-8]}AAAAAAAA", 401), (minted, 200)):
            headers = {"authorization": f"Bearer {token}"}
            assert httpx.get(f"{stack.url}/v1/whoami", headers=headers).status_code == status
        run = ada.post(f"{PROJECT}/runs", json={"name": "evaluate"}).json()["id"]
        wait_for(lambda: run in service.graph.tasks)

        assert stack.log_folder is not None
        logs = {log.stem: log.read_text() for log in stack.log_folder.glob("*.log")}
    assert {name for name, log in logs.items() if log} == {
        "RunsFunction",
        "PlanRefreshFunction",
        "RefreshTokensFunction",
        "RegisterResourcesFunction",
    }
    secrets = [STORED, "nightly-train-secret", *own.split("."), *minted.split(".")]
    secrets.remove(own.split(".")[0])
    found = [
        (name, secret[:12]) for name, log in logs.items() for secret in secrets if secret in log
    ]
    assert found == []
