"""`sam local invoke` with the template, the artifact, Lambda's image and an environment file."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.container_relay import ContainerRelay, docker_bridge
from tests.built.artifact import ROOT, SAM, create_run
from tests.required import skip_or_fail
from tests.runs.identity_server import NO_CREDENTIAL, Web
from tests.runs.runs_api import request

IMAGE = "public.ecr.aws/lambda/python:3.13-x86_64"

pytestmark = [pytest.mark.built, pytest.mark.docker]

type Invoke = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    """A Docker engine with Lambda's image. Afterwards the images that SAM built are removed."""
    try:
        found = _docker("image", "inspect", IMAGE)
    except FileNotFoundError:
        skip_or_fail("docker", "Docker is not installed")
    if found.returncode != 0:
        skip_or_fail("docker", f"no Docker engine with the image {IMAGE} answers")
    before = _layered_images()
    yield
    if added := _layered_images() - before:
        _docker("image", "rm", "--force", *added)


@pytest.fixture
def invoke(
    engine: None, built: Path, environment: dict[str, str], tmp_path: Path
) -> Iterator[Invoke]:
    """Invoke the function with the settings of samconfig.toml and events/env.json.

    The addresses of table and keys, and the trusted issuer, are those of this test.
    """
    del engine
    sample = json.loads((ROOT / "events/env.json").read_text())["RunsFunction"]
    addresses = {
        name: environment[name].replace("127.0.0.1", "localhost")
        for name in ("AWS_ENDPOINT_URL", "ALB_PUBLIC_KEYS_URL")
    }
    trusted = {
        name: environment[name] for name in ("LOAD_BALANCER_ARNS", "OIDC_ISSUER", "OIDC_CLIENT_ID")
    }
    variables = tmp_path / "env.json"
    variables.write_text(json.dumps({"RunsFunction": {**sample, **trusted, **addresses}}))
    command = [
        str(SAM), "local", "invoke", "RunsFunction", "--skip-pull-image",
        "--template", str(built / "template.yaml"),
        "--config-file", str(ROOT / "samconfig.toml"),
        "--env-vars", str(variables),
    ]  # fmt: skip

    def send(event: dict[str, Any]) -> dict[str, Any]:
        file = tmp_path / "event.json"
        file.write_text(json.dumps(event))
        finished = subprocess.run(
            [*command, "--event", str(file)],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            # Debian's engine has an older API than the one that SAM asks for by default.
            env={"DOCKER_API_VERSION": "1.41", **os.environ},
        )
        assert finished.returncode == 0, finished.stderr
        answer: dict[str, Any] = json.loads(finished.stdout)
        return answer

    ports = [int(address.rpartition(":")[2]) for address in addresses.values()]
    with ContainerRelay(ports, find_bridge=docker_bridge):
        yield send


def test_sam_local_creates_a_run_in_the_callers_name(invoke: Invoke, web: Web) -> None:
    """In Lambda's image, with the template's layer, the function puts the person on the run."""
    assert invoke(request("GET", "/healthz", by=NO_CREDENTIAL))["statusCode"] == 200
    created = invoke(create_run(web.browser("ada", given_name="Ada")))
    assert created["statusCode"] == 201
    assert json.loads(created["body"])["executed_by"]["user"]["id"]["subject"] == "ada"


def test_sam_local_refuses_a_request_without_a_credential(invoke: Invoke) -> None:
    """A request without a credential gets 401, as on AWS."""
    assert invoke(create_run(NO_CREDENTIAL))["statusCode"] == 401


def _layered_images() -> set[str]:
    listed = _docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "samcli/lambda-python")
    return set(listed.stdout.split())


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
