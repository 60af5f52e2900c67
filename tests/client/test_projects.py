"""`byline projects`: against the running stack, and against answers that it does not give there."""

import json
from typing import Any

import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, told
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


def test_unknown_words_are_wrong_usage(byline: CommandLine) -> None:
    """Nothing is sent for words that mean nothing."""
    ready = byline.having(BYLINE_URL="http://127.0.0.1:9", BYLINE_TOKEN="a.b.c")
    for words in (["show"], ["show", "a", "b"], ["rename", "a"]):
        assert ready("projects", *words).returncode == 2
