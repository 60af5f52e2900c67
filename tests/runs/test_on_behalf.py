"""A run names the person it is for: by a service account's owner, or by its parent run."""

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
from tests.runs.identity_server import Credential, Web
from tests.runs.rights_given import ACCOUNTS, RUNS, Rights, register
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
def rights(dynamodb: DynamoDb, web: Web) -> Rights:
    return Rights(dynamodb, web)


@pytest.fixture
def gpu(web: Web, dynamodb: DynamoDb, rights: Rights) -> Credential:
    """The own service account of the runner `gpu-1`, an editor that acts for nobody."""
    row = RunnerRow(
        project="apollo",
        runner="gpu-1",
        client="scheduler",
        revision="r",
        generation=1,
        deadline=1,
        created_at="2026-11-02T08:00:00.000Z",
        updated_at="2026-11-02T08:00:00.000Z",
        subject="gpu",
        subject_issuer=web.url,
    )
    dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=runner_item(row))
    rights.give("project:editor", "gpu", kind="application")
    return web.bearer("gpu", client="gpu")


@pytest.fixture
def robot(web: Web, rights: Rights) -> Credential:
    """Another service account, an editor that acts for nobody."""
    rights.give("project:editor", "robot", kind="application")
    return web.bearer("robot", client="robot")


def child(api: RunsApi, by: Credential, parent: dict[str, Any], **body: Any) -> dict[str, Any]:
    return api.create(by, parent_run=parent["id"], **body)


def test_run_of_a_service_account_is_on_behalf_of_its_person(
    api: RunsApi, ada: Credential, robot: Credential, rights: Rights
) -> None:
    """The run names the service account and its person, and the audit trail names the person."""
    register(api, ada, robot)
    run = api.create(robot)
    assert run["executed_by"]["application"]["id"] == {"subject": "robot"}
    assert run["on_behalf_of"] == ADA
    assert run["creator_service_account_id"] == "robot"
    assert run["creator_user_id"] is None
    [record] = rights.records("create_run")
    assert record["answerable"]["S"].endswith("#ada")


def test_run_of_an_application_that_acts_for_nobody_is_its_own(
    api: RunsApi, robot: Credential
) -> None:
    """A run of an application without a registered person names the application alone."""
    assert api.create(robot)["on_behalf_of"] is None


def test_runner_keeps_the_person_whose_run_it_executes(
    api: RunsApi, ada: Credential, gpu: Credential
) -> None:
    """A run that a runner creates from within a person's run is for that person."""
    parent = api.create(ada, runner="gpu-1")
    assert child(api, gpu, parent)["on_behalf_of"] == ADA


def test_person_is_kept_over_generations(api: RunsApi, ada: Credential, gpu: Credential) -> None:
    """A run keeps its person over several generations of child runs."""
    first = child(api, gpu, api.create(ada, runner="gpu-1"))
    assert child(api, gpu, child(api, gpu, first))["on_behalf_of"] == ADA


def test_runner_keeps_the_person_that_a_service_account_meant(
    api: RunsApi, ada: Credential, gpu: Credential, robot: Credential
) -> None:
    """Children of a run on behalf of a person are for that person too."""
    register(api, ada, robot)
    parent = api.create(robot, runner="gpu-1")
    assert child(api, gpu, parent)["on_behalf_of"] == ADA


def test_any_other_application_keeps_nobody(
    api: RunsApi, ada: Credential, gpu: Credential, robot: Credential
) -> None:
    """To name somebody's run as parent is not enough to speak for them."""
    del gpu
    assert child(api, robot, api.create(ada, runner="gpu-1"))["on_behalf_of"] is None
    assert child(api, robot, api.create(ada, runner="none"))["on_behalf_of"] is None
    assert child(api, robot, api.create(ada))["on_behalf_of"] is None


def test_application_of_another_issuer_is_not_the_runner(
    api: RunsApi, ada: Credential, gpu: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A subject alone is nobody: the runner's is of the issuer that it was registered with."""
    [row] = dynamodb.rows(RUNNERS_TABLE)
    row["subject_issuer"] = {"S": f"{web.url}/other"}
    dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=row)
    assert child(api, gpu, api.create(ada, runner="gpu-1"))["on_behalf_of"] is None


def test_service_account_that_was_deleted_no_longer_speaks_for_its_person(
    api: RunsApi, ada: Credential, robot: Credential
) -> None:
    """Not by way of the runs that it created while it did."""
    account = register(api, ada, robot).json
    parent = api.create(robot)
    assert api.call("DELETE", f"{ACCOUNTS}/{account['id']}", by=ada).status == 204
    assert child(api, robot, parent)["on_behalf_of"] is None


def test_who_acts_for_a_person_means_that_person(
    api: RunsApi, ada: Credential, grace: Credential, gpu: Credential
) -> None:
    """Whosever the parent is, and even where it is the parent's runner."""
    register(api, grace, gpu)
    run = child(api, gpu, api.create(ada, runner="gpu-1"))
    assert run["on_behalf_of"]["user"]["id"] == {"subject": "grace"}


def test_people_mean_themselves(api: RunsApi, ada: Credential, grace: Credential) -> None:
    """A person's child of another person's run is their own."""
    run = child(api, grace, api.create(ada))
    assert run["on_behalf_of"] is None
    assert run["creator_user_id"] == "grace"


def test_parent_must_be_a_run_of_the_project(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """422, and nothing written, for a run that there is not, elsewhere, or no longer."""
    elsewhere = api.create(ada, "gemini")["id"]
    deleted = api.create(ada)["id"]
    assert api.call("DELETE", f"{RUNS}/{deleted}", by=ada).status == 204
    for parent in (MISSING, elsewhere, deleted):
        dynamodb.calls.clear()
        answer = api.call("POST", RUNS, by=ada, document={"parent_run": parent})
        assert (answer.status, answer.reason) == (422, "invalid_parent_run")
        assert dynamodb.writes() == []


def test_run_that_the_caller_may_not_see_is_no_parent(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A role that creates and reads nothing learns from a parent's id as little as from any."""
    parent = api.create(ada)["id"]
    audit = AuditTrail(dynamodb.client, ACCESS_TABLE, now=time)
    runs = RunStore(dynamodb.client, TABLE, audit=audit, now=time, new_id=str)
    parents = ParentRuns(runs, dynamodb.client, runners_table=RUNNERS_TABLE)
    holder = RoleAssignment(Principal("user", web.url, "eve"), frozenset())
    blind = Access("apollo", (holder,), None, {"source": "alb", "verified": True})
    told = []
    for run in (parent, MISSING):
        with pytest.raises(RequestFailed) as refused:
            parents.child_action(run, access=blind, action=ActionContext(None, "r"))
        told.append((refused.value.reason, refused.value.detail))
    assert told[0] == told[1]


def test_key_gives_its_run_after_the_parent_is_gone(api: RunsApi, ada: Credential) -> None:
    """A retry is answered as the first time, whatever became of the parent; a new key is not."""
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
    """Nobody says for whom: it follows from what is verified."""
    for body in ({"on_behalf_of": ADA}, {"person": "ada"}, {"person_inherited": True}):
        assert api.call("POST", RUNS, by=robot, document=body).reason == "invalid_body"
    assert dynamodb.writes() == []
