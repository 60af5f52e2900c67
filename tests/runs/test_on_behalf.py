"""The person that a run is created for: a service account's person, or that of the parent run."""

from time import time
from typing import Any

import pytest

from byline.identity.caller import Principal
from byline.refresh.runner_rows import RunnerRow, runner_item
from serve_runs.access.control import Access, RoleAssignment
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.errors import RequestFailed
from serve_runs.runs.parents import ParentRuns
from serve_runs.runs.store import RunStore
from tests.runs.access_rows import ACCOUNTS, RUNS, AccessRows, register
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, TABLE, DynamoDb

MISSING = "01JD9XK3T5ZQ8W7V6R5N4M3K2J"
ADA = {
    "user": {
        "id": {"subject": "ada"},
        "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
    }
}


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


@pytest.fixture
def gpu(web: Web, dynamodb: DynamoDb, access_rows: AccessRows) -> Credential:
    """The service account of the runner `gpu-1`: an editor that acts for no person."""
    row = RunnerRow(
        project="apollo",
        runner="gpu-1",
        client="scheduler",
        token="-",
        revision="r",
        created_at="2026-11-02T08:00:00.000Z",
        updated_at="2026-11-02T08:00:00.000Z",
        subject="gpu",
        subject_issuer=web.url,
    )
    dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=runner_item(row))
    access_rows.grant("project:editor", "gpu", kind="application")
    return web.bearer("gpu", client="gpu")


@pytest.fixture
def robot(web: Web, access_rows: AccessRows) -> Credential:
    """Another service account: an editor that acts for no person."""
    access_rows.grant("project:editor", "robot", kind="application")
    return web.bearer("robot", client="robot")


def child(api: RunsApi, by: Credential, parent: dict[str, Any], **body: Any) -> dict[str, Any]:
    """Create a child run of `parent`."""
    return api.create(by, parent_run=parent["id"], **body)


def test_idempotency_key_belongs_to_the_person_too(
    api: RunsApi, ada: Credential, grace: Credential, robot: Credential
) -> None:
    """An account that acts for another person later gets neither the former run nor message."""
    key = [("idempotency-key", "same")]

    def post(path: str, **document: Any) -> tuple[int, Any]:
        answer = api.call("POST", path, by=robot, headers=key, document=document)
        return answer.status, answer.json

    account = register(api, ada, robot).json["id"]
    status, for_ada = post(RUNS)
    messages = f"{RUNS}/{for_ada['id']}/messages"
    assert (status, post(RUNS)[0]) == (201, 200)
    _, first = post(messages, role="user", content="hello")
    assert api.call("DELETE", f"{ACCOUNTS}/{account}", by=ada).status == 204
    assert register(api, grace, robot).status == 201
    status, for_grace = post(RUNS)
    assert (status, for_grace["on_behalf_of"]["user"]["id"]) == (201, {"subject": "grace"})
    assert for_grace["id"] != for_ada["id"]
    status, second = post(messages, role="user", content="hello")
    assert (status, second["id"] == first["id"]) == (201, False)


def test_run_of_a_service_account_is_on_behalf_of_its_person(
    api: RunsApi, ada: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """The run names both, and the accountable principal of its record is the person."""
    register(api, ada, robot)
    run = api.create(robot)
    assert run["executed_by"]["application"]["id"] == {"subject": "robot"}
    assert run["on_behalf_of"] == ADA
    assert run["creator_service_account_id"] == "robot"
    assert run["creator_user_id"] is None
    [record] = access_rows.records("create_run")
    assert record["answerable"]["S"].endswith("#ada")


def test_run_of_an_application_without_a_person_names_no_person(
    api: RunsApi, robot: Credential
) -> None:
    """A run of an application without a registered person names the application alone."""
    assert api.create(robot)["on_behalf_of"] is None


def test_child_run_of_the_runner_is_on_behalf_of_the_creator(
    api: RunsApi, ada: Credential, gpu: Credential
) -> None:
    """A run that a runner creates from within a person's run is for that person."""
    parent = api.create(ada, runner="gpu-1")
    assert child(api, gpu, parent)["on_behalf_of"] == ADA


def test_child_runs_of_child_runs_keep_the_person(
    api: RunsApi, ada: Credential, gpu: Credential
) -> None:
    """A run keeps its person over several generations of child runs."""
    first = child(api, gpu, api.create(ada, runner="gpu-1"))
    assert child(api, gpu, child(api, gpu, first))["on_behalf_of"] == ADA


def test_child_run_keeps_the_person_of_its_parent(
    api: RunsApi, ada: Credential, gpu: Credential, robot: Credential
) -> None:
    """A runner's child run of a run on behalf of a person is for that person too."""
    register(api, ada, robot)
    parent = api.create(robot, runner="gpu-1")
    assert child(api, gpu, parent)["on_behalf_of"] == ADA


def test_child_run_of_another_application_names_no_person(
    api: RunsApi, ada: Credential, gpu: Credential, robot: Credential
) -> None:
    """An application that is not the parent's runner gets no person by naming the parent."""
    del gpu
    assert child(api, robot, api.create(ada, runner="gpu-1"))["on_behalf_of"] is None
    assert child(api, robot, api.create(ada, runner="none"))["on_behalf_of"] is None
    assert child(api, robot, api.create(ada))["on_behalf_of"] is None


def start(api: RunsApi, by: Credential, run: dict[str, Any]) -> dict[str, Any]:
    """`run`, started by `by`."""
    assert api.call("POST", f"{RUNS}/{run['id']}/start", by=by).status == 200
    return run


class TestParentWithoutARunner:
    """The application that started such a run by its own right executes it while it runs."""

    def test_child_run_of_the_application_that_started_it_keeps_the_person(
        self, api: RunsApi, ada: Credential, robot: Credential
    ) -> None:
        """And so do the children of the child."""
        first = child(api, robot, start(api, robot, api.create(ada)))
        assert first["on_behalf_of"] == ADA
        assert child(api, robot, first)["on_behalf_of"] == ADA

    def test_person_of_the_parent_is_passed_on(
        self, api: RunsApi, ada: Credential, gpu: Credential, robot: Credential
    ) -> None:
        """The parent is a service account's run for its person."""
        register(api, ada, robot)
        parent = start(api, gpu, api.create(robot))
        assert child(api, gpu, parent)["on_behalf_of"] == ADA

    def test_child_run_of_an_application_that_did_not_start_it_names_no_person(
        self, api: RunsApi, ada: Credential, gpu: Credential, robot: Credential
    ) -> None:
        """Nobody gets a person by naming a run that somebody else started."""
        assert child(api, robot, start(api, gpu, api.create(ada)))["on_behalf_of"] is None
        assert child(api, robot, start(api, ada, api.create(ada)))["on_behalf_of"] is None

    @pytest.mark.parametrize("change", ["finish", "fail", "cancel"])
    def test_child_run_after_the_end_names_no_person(
        self, api: RunsApi, ada: Credential, robot: Credential, change: str
    ) -> None:
        """What does not run any more has no children for its person."""
        parent = start(api, robot, api.create(ada))
        assert api.call("POST", f"{RUNS}/{parent['id']}/{change}", by=ada).status == 200
        assert child(api, robot, parent)["on_behalf_of"] is None

    def test_start_of_a_run_with_a_runner_passes_nothing_on(
        self, api: RunsApi, ada: Credential, gpu: Credential, robot: Credential
    ) -> None:
        """The runner that the run names executes it, whoever starts it."""
        del gpu
        parent = start(api, robot, api.create(ada, runner="gpu-1"))
        assert child(api, robot, parent)["on_behalf_of"] is None

    def test_former_service_account_gets_no_person_back(
        self, api: RunsApi, ada: Credential, grace: Credential, robot: Credential
    ) -> None:
        """Neither by a run that it created for its person, nor by one that it started for them."""
        account = register(api, ada, robot).json
        created = api.create(robot)
        started = start(api, robot, api.create(grace))
        assert api.call("DELETE", f"{ACCOUNTS}/{account['id']}", by=ada).status == 204
        assert child(api, robot, start(api, robot, created))["on_behalf_of"] is None
        assert child(api, robot, started)["on_behalf_of"] is None


@pytest.mark.parametrize("change", ["finish", "fail", "cancel"])
def test_runner_that_is_registered_after_the_end_gets_no_person(
    api: RunsApi, ada: Credential, gpu: Credential, change: str
) -> None:
    """It did not execute a run that was over before: neither it nor its own runs pass Ada on."""
    parent = start(api, ada, api.create(ada, runner="gpu-1"))
    first = child(api, gpu, parent)
    for run in (parent, start(api, ada, first)):
        assert api.call("POST", f"{RUNS}/{run['id']}/{change}", by=ada).status == 200
        assert child(api, gpu, run)["on_behalf_of"] is None


def test_application_that_took_over_a_runner_passes_on_the_person_of_its_runs(
    api: RunsApi, ada: Credential, gpu: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """An admin moved the runner to another account, which executes its waiting runs since."""
    parent = api.create(ada, runner="gpu-1")
    [row] = dynamodb.rows(RUNNERS_TABLE)
    dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=row | {"subject": {"S": "robot"}})
    assert child(api, robot, parent)["on_behalf_of"] == ADA
    assert child(api, gpu, parent)["on_behalf_of"] is None


def test_application_of_another_issuer_is_not_the_runner(
    api: RunsApi, ada: Credential, gpu: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A runner is identified by issuer and subject, not by its subject alone."""
    [row] = dynamodb.rows(RUNNERS_TABLE)
    row["subject_issuer"] = {"S": f"{web.url}/other"}
    dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=row)
    assert child(api, gpu, api.create(ada, runner="gpu-1"))["on_behalf_of"] is None


def test_child_run_of_a_deleted_service_account_names_no_person(
    api: RunsApi, ada: Credential, robot: Credential
) -> None:
    """A deleted service account gets no person from the runs that it created before."""
    account = register(api, ada, robot).json
    parent = api.create(robot)
    assert api.call("DELETE", f"{ACCOUNTS}/{account['id']}", by=ada).status == 204
    assert child(api, robot, parent)["on_behalf_of"] is None


def test_child_run_of_a_service_account_is_on_behalf_of_its_own_person(
    api: RunsApi, ada: Credential, grace: Credential, gpu: Credential
) -> None:
    """A service account's own person counts, whoever created the parent run."""
    register(api, grace, gpu)
    run = child(api, gpu, api.create(ada, runner="gpu-1"))
    assert run["on_behalf_of"]["user"]["id"] == {"subject": "grace"}


def test_child_run_of_a_person_is_their_own(
    api: RunsApi, ada: Credential, grace: Credential
) -> None:
    """A person's child run of another person's run is their own."""
    run = child(api, grace, api.create(ada))
    assert run["on_behalf_of"] is None
    assert run["creator_user_id"] == "grace"


def test_parent_outside_the_project_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A missing, deleted or foreign parent run is answered 422, and nothing is written."""
    elsewhere = api.create(ada, "gemini")["id"]
    deleted = api.create(ada)["id"]
    assert api.call("DELETE", f"{RUNS}/{deleted}", by=ada).status == 204
    for parent in (MISSING, elsewhere, deleted):
        dynamodb.calls.clear()
        answer = api.call("POST", RUNS, by=ada, document={"parent_run": parent})
        assert (answer.status, answer.reason) == (422, "invalid_parent_run")
        assert dynamodb.writes() == []


def test_invisible_parent_is_refused_like_a_missing_one(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A caller that may not read runs gets the same error for an existing and a missing parent."""
    parent = api.create(ada)["id"]
    audit = AuditTrail(dynamodb.client, ACCESS_TABLE, now=time)
    runs = RunStore(dynamodb.client, TABLE, audit=audit, now=time, new_id=str)
    parents = ParentRuns(runs, dynamodb.client, runners_table=RUNNERS_TABLE)
    assignment = RoleAssignment(Principal("user", web.url, "eve"), frozenset())
    access = Access("apollo", (assignment,), None, {"source": "alb", "verified": True})
    refusals = []
    for run in (parent, MISSING):
        with pytest.raises(RequestFailed) as refused:
            parents.child_action(run, access=access, action=ActionContext(None, "r"))
        refusals.append((refused.value.reason, refused.value.detail))
    assert refusals[0] == refusals[1]


def test_key_gives_its_run_after_the_parent_is_deleted(api: RunsApi, ada: Credential) -> None:
    """A repeated create returns its run after the parent is deleted, and a new key is refused."""
    parent = api.create(ada)["id"]

    def create(key: str, **body: Any) -> Any:
        headers = (("idempotency-key", key),)
        document = {"parent_run": parent, **body}
        return api.call("POST", RUNS, by=ada, headers=headers, document=document)

    first = create("one")
    assert first.status == 201
    assert api.call("DELETE", f"{RUNS}/{parent}", by=ada).status == 204
    assert (create("one").status, create("one").json) == (200, first.json)
    assert create("one", name="another").reason == "idempotency_conflict"
    assert create("two").reason == "invalid_parent_run"


def test_person_in_the_body_is_refused(api: RunsApi, robot: Credential, dynamodb: DynamoDb) -> None:
    """A body that names a person is answered 400: the person follows from the credential."""
    for body in ({"on_behalf_of": ADA}, {"person": "ada"}, {"person_inherited": True}):
        assert api.call("POST", RUNS, by=robot, document=body).reason == "invalid_body"
    assert dynamodb.writes() == []
