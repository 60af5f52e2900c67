"""`person`: all runs of a person, by whomever they were created."""

from typing import Any

import pytest

from byline.tables.paging import PAGES_PER_REQUEST, ROWS_PER_PAGE
from serve_runs.runs.queries import REPRESENTED_INDEX
from tests.runs.access_rows import ACCOUNTS, PROJECT, RUNS, AccessRows, register
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import TABLE, DynamoDb, Refusal
from tests.runs.test_listing import ids, pages_of, put_all, rows_of, run_id

EVERYWHERE = "/v1/runs"


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`. Grace is an editor, and so are two applications."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "grace")
    rows.grant("project:editor", "robot", kind="application")
    rows.grant("project:editor", "gpu", kind="application")
    return rows


@pytest.fixture
def robot(web: Web, access_rows: AccessRows) -> Credential:
    """An application that acts for nobody until somebody registers it."""
    del access_rows
    return web.bearer("robot", client="robot")


@pytest.fixture
def gpu(web: Web, access_rows: AccessRows) -> Credential:
    """An application that executes runs."""
    del access_rows
    return web.bearer("gpu", client="gpu")


def started_by(api: RunsApi, by: Credential, run: dict[str, Any]) -> dict[str, Any]:
    """`run`, started by `by`."""
    assert api.call("POST", f"{RUNS}/{run['id']}/start", by=by).status == 200
    return run


def listed(
    api: RunsApi, by: Credential, path: str, *, limit: str = "100", **query: str
) -> list[str]:
    """The names of the runs of a listing, over all its pages."""
    names: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = api.call("GET", path, by=by, query={**query, **cursor, "limit": limit})
        assert answer.status == 200, answer.body
        names += [run["name"] for run in answer.json["runs"]]
        if answer.json["next_cursor"] is None:
            return names
        cursor = {"cursor": answer.json["next_cursor"]}


@pytest.mark.parametrize("limit", ["1", "2", "100"])
@pytest.mark.parametrize("path", [RUNS, EVERYWHERE])
def test_all_that_ran_for_a_person_is_listed(
    api: RunsApi, web: Web, robot: Credential, gpu: Credential, path: str, limit: str
) -> None:
    """Her own run, its child by the application that executes it, and her helper's run."""
    ada, grace = web.browser("ada"), web.browser("grace")
    parent = started_by(api, gpu, api.create(ada, name="hers"))
    api.create(gpu, name="child", parent_run=parent["id"])
    register(api, ada, robot)
    api.create(robot, name="for her")
    api.create(gpu, name="its own")
    api.create(grace, name="grace's")
    hers = ["for her", "child", "hers"]
    for person in ("me", "ada", f"user:{web.url}#ada"):
        assert listed(api, ada, path, person=person, limit=limit) == hers
    assert listed(api, grace, path, person="ada", limit=limit) == hers
    assert listed(api, gpu, path, person="me", limit=limit) == ["its own"]
    assert listed(api, ada, path, created_by="me", limit=limit) == ["hers"]


def test_runs_of_an_email_are_those_of_its_owners(
    api: RunsApi, web: Web, ada: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """An address finds what ran for its owners, and says whether more have it."""
    access_rows.grant("project:editor", "moira")
    moira = web.browser("moira", email="moira@example.com")
    api.create(moira, name="hers")
    register(api, moira, robot)
    api.create(robot, name="for her")
    api.create(ada)
    assert listed(api, ada, RUNS, person="MOIRA@example.com") == ["for her", "hers"]
    answer = api.call("GET", RUNS, by=ada, query={"person": "moira@example.com"}).json
    assert answer["more_people"] is False


def test_person_is_listed_with_the_other_filters(
    api: RunsApi, web: Web, ada: Credential, robot: Credential
) -> None:
    """A state, and the client with whose token the runs were created."""
    register(api, ada, robot)
    api.create(web.bearer("ada", client="cli"), name="by cli")
    started_by(api, ada, api.create(robot, name="running"))
    assert listed(api, ada, RUNS, person="me", status="running") == ["running"]
    assert listed(api, ada, EVERYWHERE, person="me", status="running") == ["running"]
    assert listed(api, ada, RUNS, person="me", status="pending") == ["by cli"]
    assert listed(api, ada, RUNS, person="me", through="cli") == ["by cli"]


def test_runs_in_projects_without_a_role_are_not_listed(
    api: RunsApi, web: Web, robot: Credential, access_rows: AccessRows
) -> None:
    """That a run was for somebody gives no right to read it, also after a role is lost."""
    access_rows.grant("project:editor", "lin")
    lin = web.browser("lin")
    account = register(api, lin, robot).json["id"]
    api.create(robot, name="for lin")
    assert listed(api, lin, EVERYWHERE, person="me") == ["for lin"]
    assert api.call("DELETE", f"{ACCOUNTS}/{account}", by=lin).status == 204
    access_rows.revoke("project:editor", "lin")
    assert listed(api, lin, EVERYWHERE, person="me") == []
    assert api.call("GET", RUNS, by=lin, query={"person": "me"}).status == 404


def test_namesake_of_another_issuer_or_kind_has_no_runs(
    api: RunsApi, web: Web, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A person is identified by kind, issuer and subject."""
    AccessRows(dynamodb, web).grant("project:editor", "ada", kind="application")
    api.create(ada, name="hers")
    api.create(web.bearer("ada", client="ada"), name="the application's")
    assert listed(api, ada, RUNS, person="me") == ["hers"]
    assert listed(api, ada, RUNS, person=f"application:{web.url}#ada") == ["the application's"]
    assert listed(api, ada, RUNS, person=f"user:{web.url}/other#ada") == []
    assert listed(api, ada, RUNS, person=f"unknown:{web.url}#ada") == []


@pytest.mark.parametrize("path", [RUNS, EVERYWHERE])
def test_other_rows_of_a_person_are_not_listed(
    api: RunsApi, web: Web, ada: Credential, robot: Credential, dynamodb: DynamoDb, path: str
) -> None:
    """No deleted run, also of an earlier version, and no revocation of a grant."""
    register(api, ada, robot)
    run = api.create(robot, name="deleted")
    [row] = [row for row in dynamodb.rows() if "status" in row]
    assert api.call("DELETE", f"{RUNS}/{run['id']}", by=ada).status == 204
    assert dynamodb.client.scan(TableName=TABLE, IndexName=REPRESENTED_INDEX)["Items"] == []
    person = {"S": f"user:{web.url}#ada"}
    old = row | {"project": {"S": "deleted#apollo"}, "deleted_at": row["created_at"]}
    revocation = {"project": {"S": "revocation#robot"}, "id": {"S": "0f"}, "person": person}
    for other in (old, revocation):
        dynamodb.client.put_item(TableName=TABLE, Item=other)
    assert len(dynamodb.client.scan(TableName=TABLE, IndexName=REPRESENTED_INDEX)["Items"]) == 2
    assert listed(api, ada, path, person="me") == []


def test_list_of_a_person_makes_two_queries(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """One by person, one by creator; none scans, and none reads more than 101 rows."""
    api.create(ada)
    dynamodb.calls.clear()
    listed(api, ada, EVERYWHERE, person="me")
    reads = [call for call in dynamodb.calls if call.document.get("TableName") == TABLE]
    assert [call.operation for call in reads] == ["Query", "Query"]
    assert [call.document["IndexName"] for call in reads] == [REPRESENTED_INDEX, "by-creator"]
    assert max(call.document["Limit"] for call in reads) <= ROWS_PER_PAGE + 1


def test_runs_of_five_people_share_the_pages_of_one_request(
    api: RunsApi, web: Web, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A filter that matches nothing reads 25 pages for all people together, then gives a cursor.

    The cursor leads to the run that matches, older than all others.
    """
    people = [f"moira-{number}" for number in range(5)]
    for person in people:
        by = web.browser(person, email="moira@example.com")
        assert api.call("GET", "/v1/whoami", by=by).status == 200
    runs = [
        (run_id(number), "apollo", people[number % 5], "failed" if number == 0 else "pending")
        for number in range(2_200)
    ]
    put_all(dynamodb, rows_of(runs, issuer=web.url))
    query = {"person": "moira@example.com", "status": "failed", "limit": "1"}
    for path in (RUNS, EVERYWHERE):
        dynamodb.calls.clear()
        first = api.call("GET", path, by=ada, query=query)
        reads = [call for call in dynamodb.calls if call.document.get("TableName") == TABLE]
        assert [call.operation for call in reads] == ["Query"] * PAGES_PER_REQUEST
        assert (first.json["runs"], first.json["next_cursor"] is None) == ([], False)
        assert ids(pages_of(api, ada, path, query)) == [run_id(0)]


@pytest.mark.parametrize("problem", ["Cannot read from backfilling global secondary", "missing"])
def test_index_that_is_being_filled_is_no_empty_list(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, problem: str
) -> None:
    """After an upgrade the list is unavailable until it is complete."""
    api.create(ada)
    message = f"{problem} index: {REPRESENTED_INDEX}"
    dynamodb.faults.append(Refusal("Query", "ValidationException", members={"message": message}))
    answer = api.call("GET", EVERYWHERE, by=ada, query={"person": "me"})
    assert (answer.status, answer.reason) == (503, "store_unavailable")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (EVERYWHERE, {}),
        (RUNS, {"person": "me", "created_by": "me"}),
        (RUNS, {"person": "x" * 841}),
        (f"{PROJECT}/runs", {"person": ""}),
    ],
)
def test_invalid_query_is_refused(
    api: RunsApi, ada: Credential, path: str, query: dict[str, str]
) -> None:
    """A list across projects needs a creator or a person, and no list takes both."""
    answer = api.call("GET", path, by=ada, query=query)
    assert (answer.status, answer.reason) == (400, "invalid_parameter")


def test_cursor_of_another_person_is_refused(
    api: RunsApi, ada: Credential, grace: Credential
) -> None:
    """A cursor belongs to the list that gave it."""
    for _ in range(2):
        api.create(ada)
    query = {"person": "me", "limit": "1"}
    cursor = api.call("GET", RUNS, by=ada, query=query).json["next_cursor"]
    answer = api.call("GET", RUNS, by=grace, query={**query, "cursor": cursor})
    assert answer.reason == "invalid_cursor"
