"""A token is read for a run only by a caller that executes the run, while it is running."""

import pytest

from tests.runs.credentials_api import TOKEN, CredentialsApi
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer

MISSING = "01M6DMBE000000000000000001"
READERS = ("credential:token-reader", "runner:token-reader")


@pytest.fixture
def project(credentials: CredentialsApi, ada: Credential) -> CredentialsApi:
    """A project with the credential `github` and the runner `nightly` of the subject `gpu`, who
    both reads every token."""
    assert credentials.put(ada).status == 201
    assert credentials.runners.put(ada, subject="gpu").status == 201
    credentials.runners.refresh()
    credentials.grant("gpu", *READERS, kind="application")
    return credentials


def read(project: CredentialsApi, kind: str, by: Credential, run: str) -> Answer:
    """Read the token of a credential or a runner for a run."""
    name = "github" if kind == "credential" else "nightly"
    path = f"/v1/projects/{project.project}/{kind}s/{name}/token"
    return project.api.call("GET", path, by=by, query={"run": run})


def assert_denied(project: CredentialsApi, answer: Answer, reason: str) -> None:
    """The answer has the reason, no secret was read, and no read is recorded."""
    assert answer.reason == reason
    assert TOKEN not in answer.body
    assert "GetSecretValue" not in project.calls()
    assert not [each for each in project.records() if each["action"].endswith("_token")]


KINDS = pytest.mark.parametrize("kind", ["credential", "runner"])


@KINDS
class TestRunner:
    """The runner of a run, which has no role to read or change it."""

    def test_runner_reads_for_a_running_run_that_names_it(
        self, project: CredentialsApi, ada: Credential, gpu: Credential, kind: str
    ) -> None:
        """The answer is the token, and the record names the run."""
        run = project.run(ada, runner="nightly")
        assert read(project, kind, gpu, run).status == 200
        assert project.records()[-1]["run"] == run

    def test_runner_cannot_tell_anothers_run_from_a_missing_one(
        self, project: CredentialsApi, ada: Credential, gpu: Credential, kind: str
    ) -> None:
        """A run of another runner, one without a runner and one of another project look alike."""
        project.runners.put(ada, "weekly", subject="tpu")
        runs = [
            MISSING,
            project.run(ada, runner="weekly"),
            project.run(ada),
            project.api.create(ada, project="elsewhere", runner="nightly")["id"],
        ]
        seen = []
        for run in runs:
            project.world.aws.calls.clear()
            answer = read(project, kind, gpu, run)
            seen.append((answer.status, {**answer.json, "instance": "-"}, project.calls()))
            assert_denied(project, answer, "run_not_executed")
        assert all(each == seen[0] for each in seen)

    @pytest.mark.parametrize(
        ("changes", "state"),
        [
            ([], "pending"),
            (["start", "finish"], "succeeded"),
            (["fail"], "failed"),
            (["start", "cancel"], "cancelled"),
        ],
    )
    def test_runner_reads_nothing_for_a_run_that_is_not_running(
        self,
        project: CredentialsApi,
        ada: Credential,
        gpu: Credential,
        kind: str,
        changes: list[str],
        state: str,
    ) -> None:
        """The answer names the run's state."""
        run = project.api.create(ada, project=project.project, runner="nightly")["id"]
        for change in changes:
            path = f"/v1/projects/{project.project}/runs/{run}/{change}"
            project.api.call("POST", path, by=ada)
        project.world.aws.calls.clear()
        answer = read(project, kind, gpu, run)
        assert_denied(project, answer, "wrong_state")
        assert answer.json["current_status"] == state

    def test_runner_that_lost_its_registration_executes_no_run(
        self, project: CredentialsApi, ada: Credential, gpu: Credential, kind: str
    ) -> None:
        """Another subject was registered for the runner since."""
        run = project.run(ada, runner="nightly")
        project.runners.put(ada, subject="tpu")
        project.world.aws.calls.clear()
        assert_denied(project, read(project, kind, gpu, run), "run_not_executed")

    def test_deleted_run_is_executed_by_nobody(
        self, project: CredentialsApi, ada: Credential, gpu: Credential, kind: str
    ) -> None:
        """It looks like one that never existed."""
        run = project.run(ada, runner="nightly")
        project.api.call("DELETE", f"/v1/projects/{project.project}/runs/{run}", by=ada)
        project.world.aws.calls.clear()
        assert_denied(project, read(project, kind, gpu, run), "run_not_executed")


@KINDS
class TestPeople:
    """The creator and the person of a run."""

    def test_creator_reads_while_it_may_change_the_run(
        self, project: CredentialsApi, web: Web, kind: str
    ) -> None:
        """A creator who is no editor any more reads nothing for the run."""
        tess = web.browser("tess")
        project.grant("tess", *READERS, "project:editor")
        run = project.run(tess)
        assert read(project, kind, tess, run).status == 200
        project.grant("tess", *READERS, "project:viewer")
        assert read(project, kind, tess, run).reason == "run_not_executed"

    def test_editor_is_told_that_it_does_not_execute_the_run_that_it_may_read(
        self, project: CredentialsApi, ada: Credential, web: Web, kind: str
    ) -> None:
        """The answers for a run of others and for a missing one differ, because it sees both."""
        tess, run = web.browser("tess"), project.run(ada, runner="nightly")
        project.grant("tess", *READERS, "project:editor")
        project.world.aws.calls.clear()
        of_others, missing = (read(project, kind, tess, each) for each in (run, MISSING))
        for answer in (of_others, missing):
            assert_denied(project, answer, "run_not_executed")
        assert "does not execute" not in missing.json["detail"]
        assert "you do not execute it" in of_others.json["detail"]
        assert "no run" in missing.json["detail"]

    def test_agent_and_its_person_execute_what_the_agent_created(
        self, project: CredentialsApi, web: Web, kind: str
    ) -> None:
        """The agent executes it only while it acts for that person, and both may change runs."""

        def agent(person: str) -> Credential:
            return web.bearer(person, client="planner-client", act={"sub": "planner"})

        for person in ("lin", "tess"):
            project.grant(person, *READERS, "project:editor")
        project.allow("planner", *READERS, "project:editor")
        run = project.run(agent("lin"))
        assert read(project, kind, agent("lin"), run).status == 200
        assert read(project, kind, web.browser("lin"), run).status == 200
        assert read(project, kind, agent("tess"), run).reason == "run_not_executed"
        project.grant("lin", *READERS, "project:viewer")
        assert read(project, kind, agent("lin"), run).reason == "run_not_executed"

    def test_person_that_a_child_run_inherited_does_not_execute_it(
        self, project: CredentialsApi, ada: Credential, gpu: Credential, web: Web, kind: str
    ) -> None:
        """The application that created the child executes it. Its person did not ask for it."""
        tess = web.browser("tess")
        project.grant("tess", *READERS, "project:editor")
        project.grant("gpu", *READERS, "project:editor", kind="application")
        parent = project.run(tess, runner="nightly")
        child = project.run(gpu, parent_run=parent)
        shown = project.api.call("GET", f"/v1/projects/{project.project}/runs/{child}", by=ada)
        assert shown.json["on_behalf_of"]["user"]["id"] == {"subject": "tess"}
        project.world.aws.calls.clear()
        assert_denied(project, read(project, kind, tess, child), "run_not_executed")
        assert read(project, kind, tess, parent).status == 200
        assert read(project, kind, gpu, child).status == 200


@KINDS
def test_caller_that_may_not_read_the_token_learns_nothing_of_the_run(
    project: CredentialsApi, ada: Credential, web: Web, kind: str
) -> None:
    """Neither the answer nor the reads depend on the run."""
    run = project.run(ada)
    seen = []
    for each in (run, MISSING):
        project.world.aws.calls.clear()
        answer = read(project, kind, web.bearer("cpu", client="cpu"), each)
        assert answer.reason == "not_found"
        seen.append(({**answer.json, "instance": "-"}, project.calls()))
    assert seen[0] == seen[1]
