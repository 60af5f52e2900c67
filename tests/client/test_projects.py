"""`byline projects`: against the running stack, and against answers that it does not give there."""

import json
from typing import Any

import httpx
import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, problem, told
from tests.client.test_daily import ask, create, job

__all__ = ["job"]
PROJECT = "daily"


def project(name: str, **changes: Any) -> dict[str, Any]:
    """A project as the service sends it."""
    creator = {"kind": "user", "subject": "ada", "name": "Ada Lovelace"}
    known = {"created_at": "2026-11-02T08:00:00.000Z", "created_by": creator}
    return {"name": name, "roles": ["project:admin"], "project_admin": False, **known, **changes}


def page(*projects: dict[str, Any], **changes: Any) -> Told:
    """A page of the list."""
    document = {"projects": projects, "all_projects": False, "complete": True, "next_cursor": None}
    return Told(200, json.dumps({**document, **changes}))


@pytest.mark.stack
def test_projects_are_listed_and_shown_to_those_who_have_roles(
    job: CommandLine, stack: RunningStack
) -> None:
    """An admin of all projects shows one without a role in it, others need a role."""
    create(job, "makes the project")
    administered = json.loads(job("projects", "show", PROJECT, "--json").stdout)
    assert (administered["roles"], administered["project_admin"]) == ([], True)
    assistant = {"kind": "application", "issuer": stack.issuer, "subject": "assistant"}
    ask(job, "PUT", "/role-bindings", {"role": "project:viewer", **assistant})
    viewer = job.having(BYLINE_TOKEN=stack.machine_token("assistant"))
    assert PROJECT in viewer("projects").stdout.split()
    document = json.loads(viewer("projects", "show", PROJECT, "--json").stdout)
    assert document["roles"] == ["project:viewer"]
    assert document in json.loads(viewer("projects", "list", "--json").stdout)
    lines = viewer("projects", "show", PROJECT).stdout.splitlines()
    assert [line.split() for line in lines] == [["name", PROJECT], ["roles", "project:viewer"]]
    stranger = job.having(BYLINE_TOKEN=stack.machine_token("short-lived"))
    done = stranger("projects", "show", PROJECT)
    assert done.returncode == 1
    assert "not_found" in done.stderr
    assert stranger("projects").stdout == ""


def test_projects_of_all_pages_are_sorted_by_name(byline: CommandLine) -> None:
    """The service has no order, a person looks for a name."""

    def answer(request: Received) -> Told:
        if "cursor=next" in request.path:
            return page(project("apollo"))
        return page(project("gemini"), project("mercury"), next_cursor="next")

    with told(answer) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        assert ready("projects").stdout.split() == ["apollo", "gemini", "mercury"]
        assert len(server.received) == 2


def test_list_that_lacks_projects_says_so(byline: CommandLine) -> None:
    """Prose goes to standard error, so scripts get names alone."""
    with told(lambda _: page(project("apollo"), all_projects=True, complete=False)) as server:
        done = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")("projects")
    assert done.stdout == "apollo\n"
    assert "administer all projects" in done.stderr
    assert "may be missing" in done.stderr


@pytest.mark.stack
def test_project_is_created_and_deleted(job: CommandLine, stack: RunningStack) -> None:
    """Live runs stop the deletion until it is told to cancel them, and the audit trail stays."""
    project = job.having(BYLINE_PROJECT="short-lived")
    assert job("projects", "create", "short-lived").stdout == "short-lived\n"
    assert job("projects", "create", "short-lived").returncode == 0
    answer = httpx.post(
        f"{stack.url}/v1/projects/short-lived/runs",
        headers={"authorization": f"Bearer {job.environ['BYLINE_TOKEN']}"},
    )
    assert answer.status_code == 201
    refused = job("projects", "delete", "short-lived", "--yes")
    assert refused.returncode == 1
    assert "runs_live" in refused.stderr
    done = job("projects", "delete", "short-lived", "--yes", "--cancel-runs")
    assert done.returncode == 0, done.stderr
    assert "ended: 1 runs" in done.stderr
    assert "short-lived" not in job("projects").stdout.split()
    assert "deleted" in job("projects", "show", "short-lived").stdout
    documents = json.loads(project("audit", "--resource", "project", "--json").stdout)
    assert [each["action"] for each in documents] == ["delete_project", "create_project"]


def test_deletion_is_repeated_until_it_is_complete(byline: CommandLine) -> None:
    """A lost last answer is no error: the project is not found any more."""
    ended = {"roles": 1, "runs": 0}
    document = {"name": "apollo", "complete": False, "retry_after_seconds": 0, "ended": ended}
    answers = iter([Told(202, json.dumps(document)), Told(0), problem(404, "not_found")])
    with told(lambda _: next(answers)) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        done = ready("projects", "delete", "apollo", "--yes", "--cancel-runs")
    assert done.returncode == 0
    assert "ended: 1 roles" in done.stderr
    assert [request.method for request in server.received] == ["DELETE"] * 3
    assert all(request.path.endswith("?live_runs=cancel") for request in server.received)


def test_unknown_project_is_not_deleted(byline: CommandLine) -> None:
    """The first 404 is an error."""
    with told(lambda _: problem(404, "not_found")) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        assert ready("projects", "delete", "apollo", "--yes").returncode == 1


def test_deletion_needs_a_confirmation(byline: CommandLine) -> None:
    """A script says `--yes`; nothing is sent without it."""
    ready = byline.having(BYLINE_URL="http://127.0.0.1:9", BYLINE_TOKEN="a.b.c")
    done = ready("projects", "delete", "apollo")
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_unknown_words_are_wrong_usage(byline: CommandLine) -> None:
    """Nothing is sent for words that mean nothing."""
    ready = byline.having(BYLINE_URL="http://127.0.0.1:9", BYLINE_TOKEN="a.b.c")
    for words in (["show"], ["show", "a", "b"], ["rename", "a"]):
        assert ready("projects", *words).returncode == 2
