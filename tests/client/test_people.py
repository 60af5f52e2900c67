"""Who did what in a run, and who may do what in a project, against the running stack."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, problem, told
from tests.client.test_sign_in import sign_in

pytestmark = pytest.mark.stack
PROJECT = "people"
RUN = "01K9ZB4M7YV5T3Q8RXN2D6H1WC"


@pytest.fixture
def job(byline: CommandLine, stack: RunningStack) -> CommandLine:
    """The command with the token of a job, an admin."""
    return byline.having(
        BYLINE_URL=stack.url, BYLINE_TOKEN=stack.machine_token(), BYLINE_PROJECT=PROJECT
    )


@pytest.fixture
def ada(byline: CommandLine, stack: RunningStack) -> CommandLine:
    """The command of Ada, an admin who is signed in."""
    ready = byline.having(BYLINE_URL=stack.url, BYLINE_PROJECT=PROJECT)
    sign_in(ready, stack)
    return ready


def recorded(job: CommandLine, name: str = "nightly") -> str:
    """The id of a run that a command had."""
    assert job("run", "--name", name, "--", "true").returncode == 0
    return job("runs", "--limit", "1").stdout.strip()


def test_timeline_of_a_run_names_who_did_what(job: CommandLine) -> None:
    """A person reads who created, started and ended a run, and who wrote in it."""
    run = recorded(job)
    assert job("messages", run, "--post", "Well done.").returncode == 0
    lines = [line.split("\t") for line in job("who", run).stdout.splitlines()]
    changes = ["create run", "start run", "finish run", "post user message"]
    assert [what for _, what, *_ in lines] == changes
    assert {by for _, _, by, *_ in lines} == {"nightly-train"}
    assert lines[2][4] == "exit code 0"
    events = json.loads(job("who", run, "--json").stdout)
    assert [event["action"] for event in events] == [each.replace(" ", "_") for each in changes]
    assert events[0]["actor"]["kind"] == "application"


def test_timeline_shows_for_whom_an_account_acted(ada: CommandLine, stack: RunningStack) -> None:
    """A run that a service account made for a person has both names."""
    assistant = stack.machine_token("assistant")
    registered = ada.having(BYLINE_ACCOUNT_TOKEN=assistant)("act-for-me", "assistant")
    assert registered.returncode == 0, registered.stderr
    run = recorded(ada.having(BYLINE_TOKEN=assistant))
    first = ada("who", run).stdout.splitlines()[0]
    assert first.split("\t")[1:4] == ["create run", "assistant", "Ada Lovelace"]
    assert ada("act-for-me", "--stop", registered.stdout.strip()).returncode == 0
    assert ada.having(BYLINE_TOKEN=assistant)("show", run).returncode == 1


def test_timeline_without_the_audit_trail_is_that_of_the_run(byline: CommandLine) -> None:
    """Whoever may read the run alone sees who acted, and why the times are missing."""
    people = {"executed_by": {"name": "ada"}, "cancelled_by": {"name": "grace"}}
    created = {"id": RUN, "created_at": "2026-01-01T00:00:00Z", "who": people}
    run = {**created, "status": "cancelled", "reason": "no GPU"}
    message = {"id": "1", "role": "user", "created_at": "2026-01-01T00:00:01Z", "who": {}}

    def answer(request: Received) -> Told:
        if "/audit" in request.path:
            return problem(403, "forbidden")
        if "/messages" in request.path:
            return Told(200, json.dumps({"messages": [message], "next_after": None}))
        return Told(200, json.dumps(run))

    with told(answer) as server:
        done = byline.facing(server.url)("who", RUN)
    assert [line.split("\t")[1:3] for line in done.stdout.splitlines()] == [
        ["create run", "ada"],
        ["post user message", ""],
        ["cancel run", "grace"],
    ]
    assert done.stdout.endswith("\tgrace\t\tno GPU\n")
    assert "forbidden, request req-1" in done.stderr


class TestMessages:
    """`byline messages`."""

    def test_post_is_read_again(self, job: CommandLine) -> None:
        """A message has its author, and a script its id."""
        run = recorded(job)
        first = job("messages", run, "--post", "one\nand more").stdout.strip()
        job("messages", run, "--post", "two")
        shown = job("messages", run).stdout.splitlines()
        assert shown[0].endswith("nightly-train: one")
        assert shown[1] == "  and more"
        [later] = json.loads(job("messages", run, "--after", first, "--json").stdout)
        assert later["content"] == "two"

    def test_follow_ends_with_the_run(self, job: CommandLine) -> None:
        """Messages appear as they are posted, up to the end of the run."""
        path = f"{job.environ['BYLINE_URL']}/v1/projects/{PROJECT}/runs"
        headers = {"authorization": f"Bearer {job.environ['BYLINE_TOKEN']}"}
        with httpx.Client(headers=headers) as http:
            run = http.post(path, json={"name": "long"}).json()["id"]
            http.post(f"{path}/{run}/start")
            with job.start("messages", run, "--follow", "--json") as process:
                assert process.stdout is not None
                for text in ("first", "second"):
                    body = {"role": "user", "content": text}
                    assert http.post(f"{path}/{run}/messages", json=body).status_code == 201
                    assert json.loads(process.stdout.readline())["content"] == text
                http.post(f"{path}/{run}/messages", json={**body, "content": "last"})
                http.post(f"{path}/{run}/finish")
                out, err = process.communicate(timeout=60)
        assert json.loads(out)["content"] == "last"
        assert (process.returncode, err) == (0, "")

    def test_follow_ends_with_a_lost_run(self, byline: CommandLine) -> None:
        """Nobody waits for messages of a run whose heartbeats have stopped."""

        def answer(request: Received) -> Told:
            is_list = "/messages" in request.path
            empty: dict[str, Any] = {"messages": [], "next_after": None}
            return Told(200, json.dumps(empty if is_list else {"status": "lost"}))

        with told(answer) as server:
            done = byline.facing(server.url)("messages", RUN, "--follow")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_follow_waits_through_an_outage(self, byline: CommandLine) -> None:
        """A fault after the first answer is reported, and no message is read twice."""
        since = time.monotonic()

        def answer(request: Received) -> Told:
            if "/messages" not in request.path:
                is_over = time.monotonic() - since > 3
                return Told(200, json.dumps({"status": "succeeded" if is_over else "running"}))
            if "after=1" in request.path and time.monotonic() - since < 3:
                return problem(429, "too_many_waits")
            found = [] if "after=1" in request.path else [{"id": "1", "content": "x"}]
            return Told(200, json.dumps({"messages": found, "next_after": "1"}))

        with told(answer) as server:
            ready = byline.facing(server.url).having(BYLINE_TIMEOUT="1")
            done = ready("messages", RUN, "--follow", "--json")
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        assert "too_many_waits, request " in done.stderr


class TestRoles:
    """`byline access`, `grant` and `revoke`."""

    def test_role_is_granted_shown_and_revoked(self, job: CommandLine, ada: CommandLine) -> None:
        """An e-mail address grants to the person that has it, until the role is revoked."""
        granted = job("grant", "project:viewer", "ada@example.com")
        assert granted.returncode == 0, granted.stderr
        principal = granted.stdout.strip()
        assert principal.startswith("user:")
        assert "Ada Lovelace has project:viewer." in granted.stderr
        assert "project:viewer" in job("access", "--of", principal).stdout.split()
        assert principal in job("access", "--all").stdout.split()
        own = json.loads(ada("access", "--json").stdout)
        assert {each["role"] for each in own["bindings"]} == {"project:admin", "project:viewer"}
        assert job("revoke", "project:viewer", principal).returncode == 0
        again = job("revoke", "project:viewer", "ada@example.com")
        assert again.returncode == 1
        assert "not_found, request " in again.stderr

    def test_subject_that_never_called_is_warned_of(
        self, job: CommandLine, stack: RunningStack
    ) -> None:
        """A mistyped subject is granted its role, and the person is told that it may be wrong."""
        done = job("grant", "project:viewer", "nobody", "--application", "--issuer", stack.issuer)
        assert done.stdout == f"application:{stack.issuer}#nobody\n"
        assert "not_seen" in done.stderr

    def test_candidates_of_an_ambiguous_address_are_named(self, byline: CommandLine) -> None:
        """The error has what a person needs to try again."""
        owners = [{"principal": f"user:https://idp.example#{name}"} for name in ("a", "b")]
        answer = problem(400, "ambiguous_email", candidates=owners)
        with told(lambda _: answer) as server:
            ready = byline.facing(server.url)
            done = ready("grant", "project:viewer", "a@example.com")
        assert done.returncode == 1
        assert "user:https://idp.example#a, user:https://idp.example#b" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "sent"),
        [
            (["anonymous"], {"kind": "anonymous"}),
            (["user:https://i#x@y"], {"principal": "user:https://i#x@y"}),
            (["x@example.com"], {"email": "x@example.com"}),
            (["x"], {"subject": "x"}),
            (["x@y", "--application"], {"subject": "x@y", "kind": "application"}),
            (["x", "--issuer", "https://i"],
             {"subject": "x", "kind": "user", "issuer": "https://i"}),
        ],
    )  # fmt: skip
    def test_principal_is_sent_as_it_is_meant(
        self, byline: CommandLine, arguments: list[str], sent: dict[str, Any]
    ) -> None:
        """An address, a subject and a whole principal are told apart."""
        with told(lambda _: Told(200, '{"kind": "user", "subject": "x"}')) as server:
            ready = byline.facing(server.url)
            assert ready("grant", "project:viewer", *arguments).returncode == 0
            body = json.loads(server.received[0].body)
        assert body == {"role": "project:viewer", **sent}


def test_agent_is_allowed_and_removed(job: CommandLine, stack: RunningStack) -> None:
    """An admin lets an agent act for others, within a role, and ends that."""
    allowed = job(
        "agents", "allow", "planner", "--issuer", stack.issuer, "--role", "project:viewer"
    )
    assert (allowed.returncode, allowed.stdout) == (0, "planner\n"), allowed.stderr
    [agent] = json.loads(job("agents", "--json").stdout)
    assert (agent["name"], agent["roles"]) == ("planner", ["project:viewer"])
    assert job("agents", "remove", "planner").returncode == 0
    assert job("agents").stdout == ""


class TestActForMe:
    """`byline act-for-me`."""

    @pytest.mark.parametrize("place", ["file", "environment"])
    def test_account_proves_itself_with_its_token(
        self, ada: CommandLine, stack: RunningStack, tmp_path: Path, place: str
    ) -> None:
        """The token comes from a file or a variable, and nobody sees it."""
        token = stack.machine_token("assistant")
        (tmp_path / "token").write_text(f"{token}\n")
        ready, arguments = ada, ["--token-file", str(tmp_path / "token")]
        if place == "environment":
            ready, arguments = ada.having(BYLINE_ACCOUNT_TOKEN=token), []
        done = ready("act-for-me", "assistant", "--role", "project:viewer", *arguments)
        assert done.returncode == 0, done.stderr
        assert token not in done.stdout + done.stderr
        accounts = json.loads(ada("act-for-me", "--json").stdout)
        assert [each["role"] for each in accounts if each["id"] == done.stdout.strip()] == [
            "project:viewer"
        ]

    def test_account_without_a_token_is_wrong_usage(self, ada: CommandLine) -> None:
        """The command says where a token is looked for."""
        done = ada("act-for-me", "assistant")
        assert done.returncode == 2
        assert "--token-file or BYLINE_ACCOUNT_TOKEN" in done.stderr


class TestStoredCredentials:
    """`byline credentials`."""

    SECRET = "ghp_that-nobody-may-see"

    def test_credential_is_stored_bound_and_deleted(self, job: CommandLine, tmp_path: Path) -> None:
        """A credential comes from a file, has the readers that are named, and no output has it."""
        (tmp_path / "token").write_text(f"{self.SECRET}\n")
        stored = ["--provider", "github", "--file", str(tmp_path / "token")]
        done = job("credentials", "put", "code", *stored, "--role", "project:editor")
        assert (done.returncode, done.stdout) == (0, "code\n"), done.stderr
        assert job("credentials", "readers", "code").stdout == "role project:editor\n"
        bound = job(
            "credentials", "readers", "code", "--runner", "trainer", "--run-label", "team=ml"
        )
        assert bound.stdout == "runner trainer for runs with team=ml\n"
        listed = job("credentials", "--json")
        [credential] = json.loads(listed.stdout)
        assert credential["provider"] == "github"
        assert job("credentials", "readers", "code", "--nobody").stdout == ""
        assert self.SECRET not in done.stderr + listed.stdout + listed.stderr
        assert job("credentials", "delete", "code").returncode == 0
        assert job("credentials").stdout == ""

    def test_stored_token_is_the_text_without_its_last_line_end(
        self, byline: CommandLine, tmp_path: Path
    ) -> None:
        """An editor's last line end is no part of the secret."""
        (tmp_path / "token").write_text(f"{self.SECRET}\r\n")
        with told(lambda _: Told(200, '{"name": "code"}')) as server:
            ready = byline.facing(server.url)
            stored = ["--provider", "github", "--file", str(tmp_path / "token")]
            assert ready("credentials", "put", "code", *stored).returncode == 0
            assert json.loads(server.received[0].body)["token"] == self.SECRET

    def test_no_option_takes_a_secret(self, job: CommandLine) -> None:
        """A token as an argument would be in the process list and the shell's history."""
        done = job("credentials", "put", "code", "--provider", "github", "--token", self.SECRET)
        assert done.returncode == 2
        assert "No such option" in done.stderr

    def test_missing_and_empty_files_are_wrong_usage(
        self, job: CommandLine, tmp_path: Path
    ) -> None:
        """Nothing is stored where there is nothing."""
        (tmp_path / "empty").write_text("\n")
        for name in ("empty", "missing"):
            stored = ["--provider", "github", "--file", str(tmp_path / name)]
            assert job("credentials", "put", "code", *stored).returncode == 2


class TestRunners:
    """`byline runners` and its subcommands."""

    def test_runner_without_a_usable_client_fails_with_the_reason(self, job: CommandLine) -> None:
        """A person who waits for a first token reads why there will be none."""
        done = job("runners", "register", "trainer", "--client", "missing", "--wait")
        assert (done.returncode, done.stdout) == (1, "trainer\n")
        assert "no secret" in done.stderr
        assert job("runners", "--failing").stdout == "trainer\n"
        facts = job("runners", "show", "trainer").stdout
        assert "client_secret_unusable" in facts
        assert "hint" in facts
        assert job("runners", "delete", "trainer").returncode == 0
        assert job("runners", "refresh", "trainer").returncode == 1

    @pytest.mark.parametrize(("status", "code"), [("ready", 0), ("failing", 1)])
    def test_wait_of_a_refresh_ends_with_its_outcome(
        self, byline: CommandLine, status: str, code: int
    ) -> None:
        """The command waits for the refresh that it asked for, not for an earlier one."""
        before: dict[str, Any] = {"name": "t", "status": "ready", "refreshed_at": "2026-01-01"}
        error = {"class": "invalid_client", "detail": "No."}
        after = {"refreshed_at": "2026-01-02"} if code == 0 else {"last_error": error}
        answers = [before, before, {**before, "status": status, **after}]

        with told(lambda _: Told(200, json.dumps(answers.pop(0)))) as server:
            done = byline.facing(server.url)("runners", "refresh", "t", "--wait")
        assert done.returncode == code
        assert answers == []
