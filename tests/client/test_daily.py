"""The daily commands against the running stack: runs, show, cancel, runners, token."""

import json
from typing import Any

import httpx
import pytest

from tests.client.commands import CommandLine
from tests.client.conftest import RunningStack
from tests.client.servers import Received, Told, told

pytestmark = pytest.mark.stack
PROJECT = "daily"


@pytest.fixture
def job(byline: CommandLine, stack: RunningStack) -> CommandLine:
    """The command with the token of a job."""
    return byline.having(
        BYLINE_URL=stack.url, BYLINE_TOKEN=stack.machine_token(), BYLINE_PROJECT=PROJECT
    )


def ask(job: CommandLine, method: str, path: str, body: Any = None) -> Any:
    """The answer of the service to a request of its own."""
    answer = httpx.request(
        method,
        f"{job.environ['BYLINE_URL']}/v1/projects/{PROJECT}{path}",
        json=body,
        headers={"authorization": f"Bearer {job.environ['BYLINE_TOKEN']}"},
    )
    answer.raise_for_status()
    return answer.json()


def create(job: CommandLine, name: str) -> str:
    """The id of a new run."""
    return str(ask(job, "POST", "/runs", {"name": name, "labels": {"team": "ml"}})["id"])


def test_list_of_runs_takes_one_request(byline: CommandLine) -> None:
    """The first page is the answer: no discovery, no sign-in and no second page before it."""
    with told(lambda _: Told(200, json.dumps({"runs": [], "next_cursor": None}))) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c")
        assert ready("runs", "--project", PROJECT).returncode == 0
        assert [request.path.partition("?")[0] for request in server.received] == [
            f"/v1/projects/{PROJECT}/runs"
        ]


def test_runs_are_ids_for_scripts_and_json_for_programs(job: CommandLine) -> None:
    """A pipe gets ids, a line each, and `--json` the service's own documents."""
    first, second = create(job, "first"), create(job, "second")
    assert job("runs", "--limit", "2").stdout.split() == [second, first]
    documents = json.loads(job("runs", "--limit", "1", "--json").stdout)
    assert [run["id"] for run in documents] == [second]
    assert job("runs", "--status", "failed").stdout == ""
    assert second in job("runs", "--all-projects", "--mine").stdout.split()


def test_runs_are_filtered_by_the_service(job: CommandLine) -> None:
    """Each filter finds the run that it is about, and not another one."""
    parent = create(job, "parent")
    body = {"agent": "trainer", "runner": "gpu-9", "labels": {"kind": "rare"}}
    run = str(ask(job, "POST", "/runs", {**body, "parent_run": parent})["id"])
    ask(job, "POST", f"/runs/{run}/start")
    for filters in (
        ["--label", "kind=rare"],
        ["--runner", "gpu-9"],
        ["--agent", "trainer"],
        ["--parent", parent],
        ["--started-by", "me", "--label", "kind=rare"],
        ["--for", "me", "--parent", parent, "--all-projects"],
        ["--since", "1h", "--agent", "trainer", "--mine"],
    ):
        assert job("runs", *filters).stdout.split() == [run], filters
    assert job("runs", "--until", "1h").stdout == ""
    assert job("runs", "--label", "kind=").stdout == ""


@pytest.mark.parametrize(
    "options",
    [
        ["--since", "yesterday"],
        ["--until", "2026-13-01"],
        ["--since", "999999w"],
        ["--mine", "--for", "grace"],
        ["--by", "ada", "--for", "grace"],
    ],
)
def test_filters_that_make_no_sense_ask_nothing(byline: CommandLine, options: list[str]) -> None:
    """A wrong time and two creators are wrong usage, before any request."""
    ready = byline.having(BYLINE_URL="http://127.0.0.1:9", BYLINE_TOKEN="a.b.c")
    done = ready("runs", "--project", PROJECT, *options)
    assert done.returncode == 2
    assert options[0] in done.stderr or "exclude" in done.stderr


def test_run_is_shown_with_its_people(job: CommandLine) -> None:
    """A person reads who created a run and what its state is."""
    run = create(job, "shown")
    facts = dict(line.split(maxsplit=1) for line in job("show", run).stdout.splitlines())
    assert facts["name"] == "shown"
    assert facts["status"] == "pending"
    assert facts["labels"] == "team=ml"
    assert "nightly-train" in job("show", run).stdout
    assert json.loads(job("show", run, "--json").stdout)["id"] == run


def test_unknown_run_is_an_error_with_its_reason(job: CommandLine) -> None:
    """A mistyped id ends with 1, and the reason and the request id."""
    done = job("show", "01K9ZB4M7YV5T3Q8RXN2D6H1WC")
    assert done.returncode == 1
    assert "not_found, request " in done.stderr


def test_runs_are_cancelled_until_one_cannot_be(job: CommandLine) -> None:
    """Every cancelled run is named, and the first that cannot be cancelled is the error."""
    first, second = create(job, "one"), create(job, "two")
    assert job("cancel", first, second).stdout.split() == [first, second]
    assert ask(job, "GET", f"/runs/{first}")["status"] == "cancelled"
    done = job("cancel", first)
    assert done.returncode == 1
    assert "wrong_state" in done.stderr


def test_runners_are_listed_with_their_state(job: CommandLine) -> None:
    """A registered runner is in the list, as the service has it."""
    create(job, "makes the project")
    ask(job, "PUT", "/runners/trainer", {"client": "missing", "subject": "nightly-train"})
    assert job("runners").stdout.split() == ["trainer"]
    [runner] = json.loads(job("runners", "--json").stdout)
    assert runner["client"] == "missing"


def test_failing_runners_are_listed_alone(byline: CommandLine) -> None:
    """A person who looks for trouble sees the runners in trouble."""
    states = {"a": "ready", "b": "failing", "c": "waiting"}
    runners = [{"name": name, "status": status} for name, status in states.items()]
    with told(lambda _: Told(200, json.dumps({"runners": runners, "next_cursor": None}))) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c", BYLINE_PROJECT=PROJECT)
        assert ready("runners").stdout.split() == ["a", "b", "c"]
        assert ready("runners", "--failing").stdout.split() == ["b"]


def test_every_command_needs_a_project(byline: CommandLine) -> None:
    """A forgotten project is wrong usage, before any request."""
    ready = byline.having(BYLINE_URL="http://127.0.0.1:9", BYLINE_TOKEN="a.b.c")
    for arguments in (["runs"], ["show", "x"], ["cancel", "x"], ["runners"]):
        done = ready(*arguments)
        assert done.returncode == 2
        assert "BYLINE_PROJECT" in done.stderr


def test_long_list_is_read_page_by_page(byline: CommandLine) -> None:
    """More than a page is read with the service's cursor, and no entry twice."""

    def page(request: Received) -> Told:
        start = 100 if "cursor=next" in request.path else 0
        runs = [{"id": f"run-{number}"} for number in range(start, start + 100)]
        return Told(200, json.dumps({"runs": runs, "next_cursor": None if start else "next"}))

    with told(page) as server:
        ready = byline.having(BYLINE_URL=server.url, BYLINE_TOKEN="a.b.c", BYLINE_PROJECT=PROJECT)
        listed = ready("runs", "--limit", "150").stdout.split()
        assert listed == [f"run-{number}" for number in range(150)]
        assert len(server.received) == 2
        assert len(ready("runs").stdout.split()) == 20
        assert len(server.received) == 3
