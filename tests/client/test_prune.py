"""`byline apply --prune` against the running stack: it deletes what its set made alone."""

from uuid import uuid4

import httpx
import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, told

pytestmark = pytest.mark.stack
RUNNER = "kind: Runner\nname: {}\nclient: warehouse\n"
BINDING = "kind: RoleBinding\nname: {0}\nrole: project:viewer\nsubject: {0}\n"
AGENT = "kind: Agent\nname: planner\nissuer: ISSUER\n"


@pytest.fixture
def job(byline: CommandLine, stack: RunningStack) -> CommandLine:
    """The command with the token of an administrator, and a project for this test alone."""
    return byline.having(
        BYLINE_URL=stack.url,
        BYLINE_TOKEN=stack.machine_token(),
        BYLINE_PROJECT=f"prune-{uuid4().hex[:12]}",
        ISSUER=stack.issuer,
    )


def applied(job: CommandLine, documents: "list[str]", *arguments: str) -> "list[str]":
    """The lines of a successful apply of team.yaml with these documents, without the project."""
    text = "---\n".join(documents).replace("ISSUER", job.environ["ISSUER"])
    (job.config.parent / "team.yaml").write_text(text)
    done = job("apply", "-f", "team.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(f"{job.environ['BYLINE_PROJECT']}/", "").splitlines()


def names(job: CommandLine) -> "list[str]":
    """The names of all that the project has, as its export has them."""
    lines = job("export").stdout.splitlines()
    return [line.removeprefix("name: ") for line in lines if line.startswith("name: ")]


def test_pruned_is_what_the_set_made_and_no_document_describes(job: CommandLine) -> None:
    """What was made by hand and what another set made stay. Deletions are in the opposite order."""
    everything = [RUNNER.format("trainer"), RUNNER.format("scorer"), BINDING.format("grace"), AGENT]
    assert job("runners", "register", "by-hand", "--client", "warehouse").returncode == 0
    (job.config.parent / "other.yaml").write_text(RUNNER.format("of-another-set"))
    assert job("apply", "-f", "other.yaml").returncode == 0
    assert len(applied(job, everything)) == 4
    kept = [RUNNER.format("scorer")]
    assert applied(job, kept) == []
    grace = f"RoleBinding project:viewer user:{job.environ['ISSUER']}#grace"
    lines = [f"- {each}" for each in ("Runner trainer", "Agent planner", grace)]
    assert applied(job, kept, "--prune", "--dry-run") == lines
    assert len(names(job)) == 6
    deleted = [f"{line.removeprefix('- ')} deleted" for line in lines]
    assert applied(job, kept, "--prune", "--yes") == deleted
    assert sorted(names(job)) == ["by-hand", "of-another-set", "scorer"]
    assert applied(job, kept, "--prune", "--yes") == []


def test_prune_asks_and_writes_nothing_without_an_answer(job: CommandLine) -> None:
    """In a job nobody answers, so it needs --yes, and nothing at all is written without it."""
    applied(job, [RUNNER.format("trainer")])
    (job.config.parent / "team.yaml").write_text(RUNNER.format("new"))
    done = job("apply", "-f", "team.yaml", "--prune")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert f"- Runner {job.environ['BYLINE_PROJECT']}/trainer" in done.stderr
    assert names(job) == ["trainer"]


def test_document_of_something_that_was_there_is_not_pruned(job: CommandLine) -> None:
    """A set has what its applies made, not what they found."""
    assert job("runners", "register", "by-hand", "--client", "warehouse").returncode == 0
    both = [RUNNER.format("by-hand"), RUNNER.format("trainer")]
    assert applied(job, both) == ["Runner trainer created"]
    assert applied(job, [BINDING.format("grace")], "--prune", "--yes") == [
        "RoleBinding grace created",
        "Runner trainer deleted",
    ]
    assert "by-hand" in names(job)


def test_what_is_deleted_otherwise_leaves_the_set(job: CommandLine) -> None:
    """A runner that was deleted and registered again by hand is not the set's any more."""
    both = [RUNNER.format("trainer"), RUNNER.format("scorer")]
    applied(job, both)
    assert job("runners", "delete", "trainer").returncode == 0
    assert applied(job, both[1:]) == []
    assert job("runners", "register", "trainer", "--client", "warehouse").returncode == 0
    assert applied(job, both[1:], "--prune", "--yes") == []
    assert "trainer" in names(job)


def test_binding_that_is_described_otherwise_is_kept(job: CommandLine) -> None:
    """The principal of a person without issuer is known by the service only, and is not deleted."""
    principal = f"user:{job.environ['ISSUER']}#grace"
    named = BINDING.replace("subject: {0}", f"principal: {principal}").format("grace")
    assert applied(job, [BINDING.format("grace")]) == ["RoleBinding grace created"]
    assert applied(job, [named], "--prune", "--yes") == []
    assert applied(job, [BINDING.format("grace")], "--prune", "--yes") == []
    leftover = f"RoleBinding project:viewer {principal} deleted"
    assert applied(job, [RUNNER.format("trainer")], "--prune", "--yes")[1:] == [leftover]


def test_set_of_files_without_a_name_must_be_named(job: CommandLine) -> None:
    """Standard input has no name, so --prune needs --set."""
    done = job("apply", "-f", "-", "--prune")
    assert done.returncode == 2
    assert "--set" in done.stderr


@pytest.mark.parametrize("writes", range(4))
def test_killed_prune_is_completed_by_the_next(job: CommandLine, writes: int) -> None:
    """Killed after any write, a prune leaves nothing that the next one does not find."""
    applied(job, [RUNNER.format("trainer"), RUNNER.format("scorer")])
    (job.config.parent / "team.yaml").write_text(RUNNER.format("new"))
    target, seen = job.environ["BYLINE_URL"], 0

    def forward(request: Received) -> Told:
        nonlocal seen
        is_last = request.method != "GET" and seen == writes
        seen += request.method != "GET"
        headers = {name: request.headers[name] for name in ("authorization", "accept")}
        headers["content-type"] = "application/json"
        url, content = target + request.path, request.body or None
        answer = httpx.request(request.method, url, headers=headers, content=content)
        if is_last:
            process.kill()
            return Told(0)
        media_type = answer.headers.get("content-type", "text/plain")
        return Told(answer.status_code, answer.text, media_type)

    with told(forward) as server:
        ready = job.having(BYLINE_URL=server.url)
        with ready.start("apply", "-f", "team.yaml", "--prune", "--yes") as process:
            process.communicate(timeout=60)
    assert process.returncode < 0
    applied(job, [RUNNER.format("new")], "--prune", "--yes")
    assert names(job) == ["new"]
    (job.config.parent / "team.yaml").write_text(BINDING.format("grace"))
    assert job("apply", "-f", "team.yaml", "--prune", "--yes").returncode == 0
    assert names(job) == ["project:viewer grace"]
