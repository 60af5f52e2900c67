"""`byline apply --prune` against the running stack: it deletes what its set made alone."""

from collections.abc import Callable
from dataclasses import dataclass
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
    done = job("apply", "-f", "team.yaml", "--set", "team", *arguments)
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
    assert job("apply", "-f", "other.yaml", "--set", "other").returncode == 0
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
    done = job("apply", "-f", "team.yaml", "--set", "team", "--prune")
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


@pytest.mark.parametrize("source", [["-f", "team.yaml"], ["-k", "."], ["-f", "-"]])
def test_pruned_set_is_named(job: CommandLine, source: "list[str]") -> None:
    """Two repositories have folders of one name, so a set has no name by default."""
    (job.config.parent / "team.yaml").write_text(RUNNER.format("trainer"))
    (job.config.parent / "kustomization.yaml").write_text("resources: [team.yaml]\n")
    done = job("apply", *source, "--prune", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--prune needs --set NAME" in done.stderr


def test_what_is_applied_without_a_set_is_not_pruned(job: CommandLine) -> None:
    """Files of the same name in another repository delete nothing of it."""
    (job.config.parent / "team.yaml").write_text(RUNNER.format("of-this-repository"))
    assert job("apply", "-f", "team.yaml").returncode == 0
    applied(job, [RUNNER.format("other")], "--prune", "--yes")
    assert names(job) == ["of-this-repository", "other"]


@dataclass
class Proxy:
    """Passes requests on to the service. `act` is called before or after a write with its number.

    Where it returns True, the client gets no answer.
    """

    target: str
    act: "Callable[[int], bool]"
    is_before: bool = True
    writes: int = 0

    def forward(self, request: Received) -> Told:
        """The answer of the service."""
        number, is_write = self.writes, request.method != "GET"
        self.writes += is_write
        if is_write and self.is_before and self.act(number):
            return Told(0)
        headers = {name: request.headers[name] for name in ("authorization", "accept")}
        headers["content-type"] = "application/json"
        url, content = self.target + request.path, request.body or None
        answer = httpx.request(request.method, url, headers=headers, content=content)
        if is_write and not self.is_before and self.act(number):
            return Told(0)
        media_type = answer.headers.get("content-type", "text/plain")
        return Told(answer.status_code, answer.text, media_type)


def killed(job: CommandLine, write: int, *arguments: str, is_before: bool) -> None:
    """An apply of team.yaml that is killed before or after its write of this number."""

    def act(number: int) -> bool:
        if number == write:
            process.kill()
        return number == write

    with told(Proxy(job.environ["BYLINE_URL"], act, is_before=is_before).forward) as server:
        ready = job.having(BYLINE_URL=server.url)
        with ready.start("apply", "-f", "team.yaml", "--set", "team", *arguments) as process:
            process.communicate(timeout=60)
    assert process.returncode < 0


@pytest.mark.parametrize("writes", range(5))
def test_killed_prune_is_completed_by_the_next(job: CommandLine, writes: int) -> None:
    """Killed after any write, a prune leaves nothing that the next one does not find.

    Whether the killed apply made what it did not mark is not certain, so that it stays.
    """
    applied(job, [RUNNER.format("trainer"), RUNNER.format("scorer")])
    (job.config.parent / "team.yaml").write_text(RUNNER.format("new"))
    killed(job, writes, "--prune", "--yes", is_before=False)
    applied(job, [RUNNER.format("new")], "--prune", "--yes")
    assert names(job) == ["new"]
    (job.config.parent / "team.yaml").write_text(BINDING.format("grace"))
    done = job("apply", "-f", "team.yaml", "--set", "team", "--prune", "--yes")
    assert done.returncode == 0
    is_doubtful = writes == 1
    assert names(job) == ["project:viewer grace", *(["new"] if is_doubtful else [])]
    assert ("/new stays, perhaps made by a person, created 20" in done.stderr) is is_doubtful


def test_what_a_person_made_after_a_killed_apply_stays(job: CommandLine) -> None:
    """The set names the runner, but it did not make it, so that --yes does not delete it."""
    (job.config.parent / "team.yaml").write_text(RUNNER.format("trainer"))
    killed(job, 1, is_before=True)
    assert names(job) == []
    assert job("runners", "register", "trainer", "--client", "warehouse").returncode == 0
    other = [RUNNER.format("other")]
    assert any(
        line.startswith("- Runner trainer  (perhaps made by a person, created 20")
        for line in applied(job, other, "--prune", "--dry-run")
    )
    assert applied(job, other, "--prune", "--yes") == ["Runner other created"]
    assert names(job) == ["other", "trainer"]


def test_what_a_person_made_again_stays(job: CommandLine) -> None:
    """A runner of the same name as the set's is another one. Nobody is asked about it."""
    applied(job, [RUNNER.format("trainer")])
    assert job("runners", "delete", "trainer").returncode == 0
    assert job("runners", "register", "trainer", "--client", "warehouse").returncode == 0
    other = [RUNNER.format("other")]
    assert "- Runner trainer" not in applied(job, other, "--prune", "--dry-run")
    assert applied(job, other, "--prune", "--yes") == ["Runner other created"]
    assert names(job) == ["other", "trainer"]
    assert applied(job, [BINDING.format("grace")], "--prune", "--yes")[1:] == [
        "Runner other deleted"
    ]


def test_what_a_person_makes_during_the_apply_stays(job: CommandLine) -> None:
    """What is there when it is written was not made by the set."""
    commands = [
        ("grant", "project:viewer", "grace"),
        ("runners", "register", "trainer", "--client", "warehouse"),
    ]
    done: list[int] = []

    def act(number: int) -> bool:
        done.extend(job(*each).returncode for each in commands if number == 0)
        return False

    documents = [RUNNER.format("trainer"), BINDING.format("grace")]
    with told(Proxy(job.environ["BYLINE_URL"], act).forward) as server:
        # The principal is named whole, so that the set is told before the write.
        principal = f"principal: user:{job.environ['ISSUER']}#grace"
        documents[1] = documents[1].replace("subject: grace", principal)
        assert applied(job.having(BYLINE_URL=server.url), documents) == ["Runner trainer changed"]
    assert done == [0, 0]
    assert applied(job, [RUNNER.format("other")], "--prune", "--yes") == ["Runner other created"]
    assert names(job) == ["project:viewer grace", "other", "trainer"]
