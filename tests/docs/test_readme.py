"""The README's requests, sent to the local stack as they are printed."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from local.openid_directory import Person
from local.openid_provider import ADA, BROWSER_CLIENT
from local.stack import Stack
from tests.docs.documents import ROOT

HOST = "https://byline.example.com"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
REQUESTS = [block for block in BLOCKS if HOST in block]
ISSUER = "https://issuer.example.com"
PREFIX = "byline-dev"
COMMANDS = f"""set -e
curl() {{ command curl --silent --show-error --fail-with-body "$@"; }}
aws() {{ {sys.executable} -m tests.docs.aws_command "$@"; }}
"""
CALLBACK = "http://127.0.0.1/oauth2/idpresponse"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(log_folder=tmp_path_factory.mktemp("logs")) as running:
        yield running


def token_of(person: Person, stack: Stack) -> str:
    """A person's access token, by the code flow."""
    assert stack.provider is not None
    query = {
        "response_type": "code",
        "client_id": BROWSER_CLIENT,
        "redirect_uri": CALLBACK,
        "scope": "openid profile email",
    }
    answer = httpx.post(f"{stack.issuer}/authorize", params=query, data={"person": person.subject})
    code = httpx.URL(answer.headers["location"]).params["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    credentials = (BROWSER_CLIENT, stack.provider.browser_secret)
    return str(
        httpx.post(f"{stack.issuer}/token", data=form, auth=credentials).json()["access_token"]
    )


def _token_of_assistant(stack: Stack) -> str:
    answer = httpx.post(
        f"{stack.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=("assistant", "assistant-secret"),
    )
    return str(answer.json()["access_token"])


@pytest.mark.stack
def test_requests_of_the_readme_are_answered_with_success(stack: Stack) -> None:
    """A reader who copies the requests of the README, in order, gets no error."""
    assert len(REQUESTS) == 3
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TOKEN": token_of(ADA, stack),
        "ASSISTANT_TOKEN": _token_of_assistant(stack),
        **stack.aws.environment,
        "AWS_DEFAULT_REGION": os.environ["AWS_DEFAULT_REGION"],
    }
    for block in REQUESTS:
        script = COMMANDS + (
            block.replace(HOST, stack.url)
            .replace(ISSUER, stack.issuer)
            .replace(PREFIX, stack.secret_prefix)
        )
        run = subprocess.run(
            ["bash", "-c", script],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, block + run.stdout + run.stderr
    # This machine may be busier than AWS, so the runner has more than the two seconds.
    until = time.monotonic() + 30
    while time.monotonic() < until:
        shown = httpx.get(
            f"{stack.url}/v1/projects/research/runners/trainer",
            headers={"Authorization": f"Bearer {environment['TOKEN']}"},
        ).json()
        if shown["status"] != "waiting":
            break
        time.sleep(0.2)
    assert (shown["status"], shown["last_error"]) == ("ready", None)
