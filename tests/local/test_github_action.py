"""The GitHub action: a job's command is recorded as started by the job's own identity."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from local.stack import Stack
from tests.docs.documents import section
from tests.local.github_action import Job

RUNS = "/v1/projects/research/runs"
SHADOWS = ("logging", "venv", "sysconfig", "pip", "byline_client", "httpx", "typing", "subprocess")
"""Modules of a checkout that a stranger may have written."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(log_folder=tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the service with the rights of an admin, who lets the job create runs."""
    form = {"grant_type": "client_credentials"}
    answer = httpx.post(
        f"{stack.issuer}/token", data=form, auth=("nightly-train", "nightly-train-secret")
    )
    headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
    with httpx.Client(base_url=stack.url, headers=headers) as client:
        assert stack.provider is not None
        binding = {
            "role": "project:editor",
            "kind": "application",
            "issuer": stack.provider.ci.issuer,
            "subject": "repo:acme/train:ref:refs/heads/main",
        }
        granted = client.put("/v1/projects/research/role-bindings", json=binding)
        assert granted.status_code == 201
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the job, in which the client is installed once.

    Its checkout has modules of the names that the action's own Python imports.
    """
    created = tmp_path_factory.mktemp("job")
    for name in SHADOWS:
        line = f"open({str(created / 'foreign')!r}, 'a').write('{name} ')\n"
        (created / f"{name}.py").write_text(line)
    return created


@pytest.fixture
def job(stack: Stack, admin: httpx.Client, folder: Path) -> Job:
    """A job of `acme/train` with the permission `id-token: write`."""
    assert stack.provider is not None
    started = stack.provider.ci.start_job("acme/train", workflow="train", actor="ada-l")
    (folder / "outputs").unlink(missing_ok=True)
    return Job(
        folder,
        {
            "ACTIONS_ID_TOKEN_REQUEST_URL": started.request_url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": started.request_token,
            "BYLINE_CONFIG_DIR": str(folder / "config"),
        },
    )


def documented() -> dict[str, Any]:
    """The inputs of the example in the documentation."""
    text = section("docs/cli.md", "### Jobs").partition("```yaml\n")[2].partition("```")[0]
    steps = yaml.safe_load(text)["jobs"]["train"]["steps"]
    inputs: dict[str, Any] = next(each["with"] for each in steps if "with" in each)
    return inputs


@pytest.mark.stack
def test_documented_step_is_recorded_as_started_by_its_job(
    stack: Stack, admin: httpx.Client, job: Job
) -> None:
    """A job with `id-token: write` needs no secret, and its run names the workflow."""
    (job.folder / "train.sh").write_text('#!/bin/sh\necho "trained by $BYLINE_RUN_ID"\n')
    (job.folder / "train.sh").chmod(0o755)
    done = job.use(**{**documented(), "url": stack.url})
    assert done.returncode == 0, done.stderr
    run_id = job.outputs.strip().removeprefix("run-id=")
    assert done.stdout == f"trained by {run_id}\n"
    run = admin.get(f"{RUNS}/{run_id}").json()
    assert (run["status"], run["name"], run["labels"]) == ("succeeded", "train", {"team": "ml"})
    assert run["who"]["executed_by"]["name"].startswith("acme/train @ main, workflow train")
    assert list(job.folder.glob("byline-command.*")) == []


@pytest.mark.stack
def test_modules_of_the_checkout_do_not_run_with_the_rights_of_the_job(
    stack: Stack, job: Job
) -> None:
    """The action runs no Python of the working directory. The command itself may."""
    done = job.use(url=stack.url, project="research", run="python3 -c 'import httpx'")
    assert done.returncode == 0, done.stderr
    assert (job.folder / "foreign").read_text() == "httpx "


@pytest.mark.stack
def test_step_fails_as_its_command_does(stack: Stack, admin: httpx.Client, job: Job) -> None:
    """The exit code is the command's, in which a failed line ends all, and the run has failed."""
    done = job.use(url=stack.url, project="research", run="echo one\nsh -c 'exit 7'\necho two")
    assert (done.returncode, done.stdout) == (7, "one\n")
    run = admin.get(f"{RUNS}/{job.outputs.strip().removeprefix('run-id=')}").json()
    assert run["status"] == "failed"


@pytest.mark.stack
@pytest.mark.parametrize(("strict", "code", "out"), [("false", 0, "ran\n"), ("true", 4, "")])
def test_strict_step_does_not_run_unrecorded(
    stack: Stack, job: Job, strict: str, code: int, out: str
) -> None:
    """A job that Byline does not accept runs its command nevertheless, unless it is strict."""
    assert stack.provider is not None
    other = stack.provider.ci.start_job("mallory/train", workflow="train", actor="mallory")
    stranger = Job(
        job.folder,
        {
            **job.environ,
            "ACTIONS_ID_TOKEN_REQUEST_URL": other.request_url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": other.request_token,
        },
    )
    done = stranger.use(url=stack.url, project="research", run="echo ran", strict=strict)
    assert (done.returncode, done.stdout) == (code, out)
    assert "claims_not_allowed" in done.stderr
    assert other.request_token not in done.stdout + done.stderr
