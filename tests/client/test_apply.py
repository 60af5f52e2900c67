"""`byline apply` and `byline export` against the running stack."""

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, told
from tests.client.test_sign_in import sign_in

pytestmark = pytest.mark.stack
SECRET = "ghp_0123456789abcdef"
DOCUMENTS = """\
kind: Runner
name: trainer
client: warehouse
audience: ${AUDIENCE}
---
kind: Credential
name: code
provider: github
token: {env: CODE_TOKEN}
url: https://github.com
readers: [{role: "project:editor"}, {runner: trainer, run_labels: {team: ml}}]
---
kind: Agent
name: planner
issuer: ISSUER
roles: ["project:viewer"]
expires_at: 2027-06-01T12:00:00+02:00
---
kind: RoleBinding
name: grace reads
role: project:viewer
subject: grace
---
kind: RoleBinding
name: the assistant edits
role: project:editor
principal: {kind: application, issuer: "ISSUER", subject: assistant}
"""
TITLES = (
    "RoleBinding {}/grace reads",
    "RoleBinding {}/the assistant edits",
    "Agent {}/planner",
    "Credential {}/code",
    "Runner {}/trainer",
)


@pytest.fixture
def job(byline: CommandLine, stack: RunningStack) -> CommandLine:
    """The command with the token of an administrator, and a project for this test alone."""
    project = f"apply-{uuid4().hex[:12]}"
    documents = DOCUMENTS.replace("ISSUER", stack.issuer)
    (byline.config.parent / "team.yaml").write_text(documents)
    return byline.having(
        BYLINE_URL=stack.url,
        BYLINE_TOKEN=stack.machine_token(),
        BYLINE_PROJECT=project,
        CODE_TOKEN=SECRET,
        AUDIENCE="trainer",
    )


def titles(job: CommandLine) -> "list[str]":
    """The documents of team.yaml in the order in which they are written."""
    return [each.format(job.environ["BYLINE_PROJECT"]) for each in TITLES]


def records(job: CommandLine) -> "Counter[str]":
    """The changes in the project by the caller, counted by action and resource."""
    found: Counter[str] = Counter()
    query: dict[str, Any] = {"person": "me", "limit": 100}
    while True:
        answer = httpx.get(
            f"{job.environ['BYLINE_URL']}/v1/projects/{job.environ['BYLINE_PROJECT']}/audit",
            params=query,
            headers={"authorization": f"Bearer {job.environ['BYLINE_TOKEN']}"},
        )
        answer.raise_for_status()
        page = answer.json()
        found.update(f"{each['action']} {each['resource']['id']}" for each in page["records"])
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


def written(found: "Counter[str]") -> int:
    """How many of the records are about documents, not about their set."""
    return sum(count for name, count in found.items() if not name.startswith("write_apply_set "))


def applied(job: CommandLine, *arguments: str) -> "list[str]":
    """The lines of a successful apply of team.yaml."""
    done = job("apply", "-f", "team.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout.splitlines()


def test_second_apply_writes_nothing(job: CommandLine) -> None:
    """The same documents again change nothing, and the audit trail has no record more."""
    assert applied(job) == [f"{title} created" for title in titles(job)]
    before = records(job)
    assert written(before) == len(TITLES)
    assert applied(job) == []
    assert records(job) == before
    assert not [line for line in applied(job, "--dry-run") if line[:1] not in "?"]


def test_dry_run_shows_and_writes_nothing(job: CommandLine) -> None:
    """A dry run names each document and its members, and the service stays as it is."""
    lines = applied(job, "--dry-run")
    assert [line for line in lines if line.startswith("+ ")] == [
        f"+ {each}" for each in titles(job)
    ]
    assert "    + audience: trainer" in lines
    assert "    + token: (secret)" in lines
    assert records(job).total() == 0


def test_only_what_differs_is_written(job: CommandLine) -> None:
    """A change of one member writes one document, and the diff shows the member alone."""
    applied(job)
    before = records(job)
    changed = job.having(AUDIENCE="other")
    lines = [line for line in applied(changed, "--dry-run") if not line.startswith("?")]
    project = job.environ["BYLINE_PROJECT"]
    assert lines == [
        f"~ Runner {project}/trainer",
        "    - audience: trainer",
        "    + audience: other",
    ]
    assert applied(changed) == [f"Runner {project}/trainer changed"]
    assert records(job) - before == Counter({"register_runner trainer": 1})


def test_changed_secret_is_told_from_the_same_one(job: CommandLine) -> None:
    """The service compares the secret: a new one is a change, the same one is none."""
    applied(job)
    before = records(job)
    project = job.environ["BYLINE_PROJECT"]
    assert applied(job.having(CODE_TOKEN="ghp_new")) == [f"Credential {project}/code changed"]
    assert applied(job.having(CODE_TOKEN="ghp_new")) == []
    assert records(job) - before == Counter({"write_credential code": 1})


def test_faulty_document_writes_nothing(job: CommandLine) -> None:
    """One fault in one document, and none of the others is written."""
    path = job.config.parent / "team.yaml"
    path.write_text(f"{path.read_text()}---\nkind: Agent\nname: Planner\n")
    done = job("apply", "-f", "team.yaml")
    assert done.returncode == 2
    assert "team.yaml:30: `name` has a character" in done.stderr
    assert records(job).total() == 0


def test_refused_document_says_what_is_done_and_what_is_not(job: CommandLine) -> None:
    """Half a failure ends with 1, names both halves, and a repeated apply ends the work."""
    path = job.config.parent / "team.yaml"
    whole = path.read_text()
    path.write_text(whole.replace('project:viewer"]', 'project:unknown"]'))
    done = job("apply", "-f", "team.yaml")
    assert done.returncode == 1
    bindings, (agent, credential, runner) = titles(job)[:2], titles(job)[2:]
    assert done.stdout.splitlines() == [f"{title} created" for title in bindings]
    assert f"{agent} is not applied: Unknown role `project:unknown`." in done.stderr
    assert f"Not applied after it: {credential}, {runner}." in done.stderr
    path.write_text(whole)
    assert applied(job) == [f"{title} created" for title in (agent, credential, runner)]


@pytest.mark.parametrize(
    ("writes", "moment"), [(0, "before"), (1, "after"), (3, "before"), (4, "after")]
)
def test_killed_apply_is_completed_by_the_next(job: CommandLine, writes: int, moment: str) -> None:
    """Killed before or after any write, an apply leaves what it wrote, and the next the rest."""
    target, is_sent = job.environ["BYLINE_URL"], moment == "after"
    killed: list[subprocess.Popen[str]] = []
    seen = 0

    def forward(request: Received) -> Told:
        nonlocal seen
        is_write = request.method != "GET" and "/apply-sets/" not in request.path
        is_last = is_write and seen == writes
        seen += is_write
        if is_last and not is_sent:
            os.kill(killed[0].pid, signal.SIGKILL)
            return Told(0)
        headers = {name: request.headers[name] for name in ("authorization", "accept")}
        headers["content-type"] = "application/json"
        answer = httpx.request(
            request.method, target + request.path, headers=headers, content=request.body or None
        )
        if is_last:
            os.kill(killed[0].pid, signal.SIGKILL)
            return Told(0)
        return Told(answer.status_code, answer.text, answer.headers["content-type"])

    with told(forward) as server:
        with job.having(BYLINE_URL=server.url).start("apply", "-f", "team.yaml") as process:
            killed.append(process)
            process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    assert written(records(job)) == writes + is_sent
    assert applied(job) == [f"{title} created" for title in titles(job)[writes + is_sent :]]
    assert written(records(job)) == len(TITLES)
    assert applied(job) == []


def test_applied_export_changes_nothing(job: CommandLine) -> None:
    """What a project exports is the same documents: applied, they write nothing."""
    applied(job)
    done = job("export")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kind: ") == len(TITLES)
    assert SECRET not in done.stdout + done.stderr
    assert "env: CREDENTIAL_CODE_TOKEN" in done.stdout
    (job.config.parent / "team.yaml").write_text(done.stdout)
    before = records(job)
    assert applied(job.having(CREDENTIAL_CODE_TOKEN=SECRET)) == []
    assert records(job) == before
    missing = job("apply", "-f", "team.yaml")
    assert missing.returncode == 2
    assert "The variable CREDENTIAL_CODE_TOKEN is not set." in missing.stderr


def test_overlay_applies_the_same_twice(job: CommandLine) -> None:
    """A patch changes its member once, and keeps provider, secret and address."""
    folder = job.config.parent
    (folder / "prod").mkdir()
    (folder / "prod/kustomization.yaml").write_text(
        "resources: [../team.yaml]\npatches: [p.yaml]\n"
    )
    (folder / "prod/p.yaml").write_text("kind: Credential\nname: code\nurl: https://ghe.example\n")
    assert len(job("apply", "-k", "prod").stdout.splitlines()) == len(TITLES)
    before = records(job)
    assert job("apply", "-k", "prod").stdout == ""
    assert records(job) == before
    exported = job("export").stdout
    assert "url: https://ghe.example" in exported
    assert "provider: github" in exported


def test_service_account_is_registered_with_its_token(
    job: CommandLine, stack: RunningStack
) -> None:
    """A person lets an application act for them, by a document with its token."""
    person = CommandLine(job.config, {"BYLINE_PROJECT": job.environ["BYLINE_PROJECT"]})
    sign_in(person, stack)
    account = person.having(ASSISTANT=stack.machine_token("assistant"))
    text = (
        "kind: ServiceAccount\nname: the assistant\nrole: project:viewer\ntoken: {env: ASSISTANT}\n"
    )
    (job.config.parent / "team.yaml").write_text(text)
    title = f"ServiceAccount {job.environ['BYLINE_PROJECT']}/the assistant"
    assert applied(account) == [f"{title} created"]
    assert applied(account) == []
    token = {"SERVICEACCOUNT_THE_ASSISTANT_TOKEN": account.environ["ASSISTANT"]}
    exported = account("export").stdout
    (job.config.parent / "team.yaml").write_text(exported)
    assert applied(account.having(**token)) == []
    (job.config.parent / "team.yaml").write_text(exported.replace(":viewer", ":editor"))
    assert applied(account.having(**token)) == [f"{title} changed"]


def test_secret_is_in_no_argument_and_no_output(job: CommandLine) -> None:
    """Neither the process list nor a debug log of an apply has the secret."""
    with job.start("apply", "-f", "team.yaml") as process:
        arguments = Path(f"/proc/{process.pid}/cmdline").read_text()
        out, err = process.communicate(timeout=60)
    assert SECRET not in arguments + out + err


def test_schema_is_that_of_the_models(byline: CommandLine) -> None:
    """`byline apply --schema` needs no service."""
    schema = json.loads(byline("apply", "--schema").stdout)
    assert schema["discriminator"]["propertyName"] == "kind"
