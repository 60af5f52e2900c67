"""States of a run: the changes that each state permits, their actors, and deletion."""

import json
import time
from functools import partial
from itertools import product
from typing import Any

import pytest

from byline.identity.caller import Caller
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import READS_BEFORE_WRITING, RunStore
from serve_runs.runs.views import run_key
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, Meanwhile, conflict

RUNS = "/v1/projects/apollo/runs"
MISSING = "01JD9XK3T5ZQ8W7V6R5N4M3K2J"

CHANGES_TO_STATE: dict[str, tuple[str, ...]] = {
    "pending": (),
    "running": ("start",),
    "succeeded": ("start", "finish"),
    "failed": ("fail",),
    "cancelled": ("cancel",),
}
"""Each state, with the changes that lead to it."""

PERMITTED = {
    ("pending", "start"): "running",
    ("pending", "fail"): "failed",
    ("pending", "cancel"): "cancelled",
    ("running", "finish"): "succeeded",
    ("running", "fail"): "failed",
    ("running", "cancel"): "cancelled",
}
ACTOR_FIELDS = {
    "start": "started_by",
    "finish": "finished_by",
    "fail": "finished_by",
    "cancel": "cancelled_by",
}
PAIRS = list(product(CHANGES_TO_STATE, ACTOR_FIELDS))


def change(api: RunsApi, run: dict[str, Any], name: str, by: Credential) -> Answer:
    """Change the state of a run."""
    return api.call("POST", f"/v1/projects/{run['project']}/runs/{run['id']}/{name}", by=by)


def store_of(dynamodb: DynamoDb) -> RunStore:
    """A separate store, as another invocation has it."""
    audit = AuditTrail(dynamodb.client, ACCESS_TABLE, now=time.time)
    return RunStore(dynamodb.client, TABLE, audit=audit, now=time.time, new_id=str)


def _write_concurrently(dynamodb: DynamoDb, run: dict[str, Any]) -> None:
    """Write the run as another request would, so that it differs from what was read."""
    dynamodb.client.update_item(
        TableName=TABLE,
        Key=run_key("apollo", run["id"]),
        UpdateExpression="SET last_request = :other",
        ExpressionAttributeValues={":other": {"S": f"another {len(dynamodb.calls)}"}},
    )


def run_in(api: RunsApi, state: str, by: Credential) -> dict[str, Any]:
    """A run in this state."""
    run = api.create(by)
    for name in CHANGES_TO_STATE[state]:
        run = change(api, run, name, by).json
    assert run["status"] == state
    return run


@pytest.mark.parametrize(("state", "name"), [pair for pair in PAIRS if pair in PERMITTED])
def test_permitted_change_writes_state_and_actor(
    api: RunsApi, ada: Credential, grace: Credential, state: str, name: str
) -> None:
    """A change writes the new state and its actor, and nothing else."""
    run = run_in(api, state, ada)
    answer = change(api, run, name, grace)
    assert answer.status == 200
    changed = answer.json
    field = ACTOR_FIELDS[name]
    assert changed[field]["user"]["id"] == {"subject": "grace"}
    assert changed["updated_at"] >= run["updated_at"]
    who = run["who"] | {field: changed["who"][field]}
    assert changed["who"][field]["subject"] == "grace"
    expected = {"status": PERMITTED[state, name], field: changed[field], "who": who}
    assert changed == run | expected | {"updated_at": changed["updated_at"]}
    assert api.call("GET", f"{RUNS}/{run['id']}", by=ada).json == changed


@pytest.mark.parametrize(("state", "name"), [pair for pair in PAIRS if pair not in PERMITTED])
def test_change_from_a_wrong_state_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, state: str, name: str
) -> None:
    """The answer is 409 with the current state, and nothing is written."""
    run = run_in(api, state, ada)
    before = dynamodb.rows()
    answer = change(api, run, name, ada)
    assert (answer.status, answer.reason) == (409, "wrong_state")
    assert answer.json["current_status"] == state
    assert dynamodb.rows() == before


def test_change_by_a_service_account_names_an_application(
    api: RunsApi, ada: Credential, nightly: Credential
) -> None:
    """A service account that finishes a person's run is recorded as an application."""
    run = change(api, run_in(api, "running", ada), "finish", nightly).json
    assert run["finished_by"] == {
        "application": {"id": {"subject": "nightly"}, "spec": {"name": "nightly"}}
    }
    assert run["executed_by"]["user"]["id"] == {"subject": "ada"}


@pytest.mark.parametrize("name", [*ACTOR_FIELDS, "delete", "show"])
def test_missing_run_is_not_found(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, name: str
) -> None:
    """A missing run, a run of another project and a malformed id are answered 404."""
    run = api.create(ada, project="gemini")
    before = dynamodb.rows()
    answers = []
    for run_id in (MISSING, run["id"], "not-a-ulid", MISSING.lower(), f"{MISSING}\n"):
        path = f"{RUNS}/{run_id}"
        method = {"delete": "DELETE", "show": "GET"}.get(name, "POST")
        path += f"/{name}" if method == "POST" else ""
        answer = api.call(method, path, by=ada)
        assert (answer.status, answer.reason) == (404, "not_found")
        answers.append(answer.json | {"instance": ""})
    assert all(answer == answers[0] for answer in answers)
    assert dynamodb.rows() == before


def test_unknown_change_is_not_found(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """An unknown change is answered 404, and nothing is written."""
    run = api.create(ada)
    before = dynamodb.rows()
    for name in ("restart", "START", "start "):
        answer = change(api, run, name, ada)
        assert (answer.status, answer.reason) == (404, "not_found")
    assert dynamodb.rows() == before


class TestDeleting:
    """A deleted run is on no route, and its tombstone names who deleted it."""

    @pytest.mark.parametrize("state", CHANGES_TO_STATE)
    def test_deleted_run_is_not_found_in_any_state(
        self, api: RunsApi, ada: Credential, state: str
    ) -> None:
        """A deleted run is in no list, and reading or deleting it again is answered 404."""
        run = run_in(api, state, ada)
        path = f"{RUNS}/{run['id']}"
        deleted = api.call("DELETE", path, by=ada)
        assert (deleted.status, deleted.body) == (204, "")
        assert api.call("GET", path, by=ada).status == 404
        assert api.call("DELETE", path, by=ada).status == 404
        assert change(api, run, "start", ada).status == 404
        assert api.call("GET", RUNS, by=ada).json["runs"] == []
        mine = api.call("GET", "/v1/runs", by=ada, query={"created_by": "me"})
        assert mine.json["runs"] == []

    def test_tombstone_has_the_run_and_the_actor_of_the_deletion(
        self, api: RunsApi, ada: Credential, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """The tombstone keeps the whole run and names the actor who deleted it."""
        run = api.create(ada, name="kept")
        api.call("DELETE", f"{RUNS}/{run['id']}", by=grace)
        [tombstone] = dynamodb.rows()
        assert tombstone["id"] == {"S": run["id"]}
        assert tombstone["name"] == {"S": "kept"}
        assert json.loads(tombstone["deleted_by"]["S"])["user"]["id"] == {"subject": "grace"}
        assert json.loads(tombstone["executed_by"]["S"])["user"]["id"] == {"subject": "ada"}
        assert tombstone["deleted_at"]["S"] >= run["created_at"]

    def test_partition_of_tombstones_is_no_project_name(
        self, api: RunsApi, ada: Credential
    ) -> None:
        """The partitions of tombstones and keys are refused as names of projects."""
        run = api.create(ada)
        api.call("DELETE", f"{RUNS}/{run['id']}", by=ada)
        for project in ("deleted#apollo", "deleted%23apollo", "idempotency#apollo"):
            answer = api.call("GET", f"/v1/projects/{project}/runs", by=ada)
            assert answer.status in (400, 404)

    def test_change_during_a_deletion_is_in_the_tombstone(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """The tombstone contains a change that was written during the deletion."""
        run = api.create(ada)
        grace = Caller("user", "alb", "https://issuer.example", "grace", "grace", "Grace")

        def start() -> None:
            store_of(dynamodb).change(
                "apollo",
                run["id"],
                transition=TRANSITIONS["start"],
                action=ActionContext(grace, "another"),
            )

        dynamodb.faults.append(Meanwhile("TransactWriteItems", start))
        assert api.call("DELETE", f"{RUNS}/{run['id']}", by=ada).status == 204
        [tombstone] = dynamodb.rows()
        assert tombstone["status"] == {"S": "running"}
        assert json.loads(tombstone["started_by"]["S"])["user"]["id"] == {"subject": "grace"}
        assert json.loads(tombstone["deleted_by"]["S"])["user"]["id"] == {"subject": "ada"}


def test_change_after_a_concurrent_one_is_refused_with_the_new_state(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A change that the concurrent one no longer permits is answered 409 with the new state."""
    run = api.create(ada)

    def cancel() -> None:
        store_of(dynamodb).change(
            "apollo",
            run["id"],
            transition=TRANSITIONS["cancel"],
            action=ActionContext(None, "another"),
        )

    dynamodb.faults.append(Meanwhile("TransactWriteItems", cancel))
    answer = change(api, run, "start", ada)
    assert (answer.status, answer.json["current_status"]) == (409, "cancelled")


def test_change_after_a_concurrent_one_is_made_where_it_is_permitted(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The run is read again, and both changes count."""
    run = api.create(ada)

    def start() -> None:
        store_of(dynamodb).change(
            "apollo",
            run["id"],
            transition=TRANSITIONS["start"],
            action=ActionContext(None, "another"),
        )

    dynamodb.faults.append(Meanwhile("TransactWriteItems", start))
    assert change(api, run, "cancel", ada).json["status"] == "cancelled"
    assert api.call("GET", f"{RUNS}/{run['id']}", by=ada).json["status"] == "cancelled"


def test_change_keeps_concurrent_writes_of_other_attributes(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A change writes only its own attributes of the row."""
    run = api.create(ada)

    def write_other_attribute() -> None:
        dynamodb.client.update_item(
            TableName=TABLE,
            Key=run_key("apollo", run["id"]),
            UpdateExpression="SET marked = :mark",
            ExpressionAttributeValues={":mark": {"S": "meanwhile"}},
        )

    dynamodb.faults.append(Meanwhile("TransactWriteItems", write_other_attribute))
    assert change(api, run, "start", ada).status == 200
    [row] = dynamodb.rows()
    assert (row["marked"]["S"], row["status"]["S"]) == ("meanwhile", "running")


@pytest.mark.parametrize("name", ["start", "delete"])
def test_run_under_constant_change_is_unavailable(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, name: str
) -> None:
    """The request is answered 503 after a few reads, because a retry may succeed."""
    run = api.create(ada)
    path = f"{RUNS}/{run['id']}"
    method, path = ("DELETE", path) if name == "delete" else ("POST", f"{path}/{name}")
    for _ in range(READS_BEFORE_WRITING):
        concurrent_write = partial(_write_concurrently, dynamodb, run)
        dynamodb.faults.append(Meanwhile("TransactWriteItems", concurrent_write))
    answer = api.call(method, path, by=ada)
    assert (answer.status, answer.reason) == (503, "store_unavailable")
    dynamodb.faults.extend([conflict()] * 5)
    answer = api.call(method, path, by=ada)
    assert (answer.status, answer.reason) == (503, "store_unavailable")
    dynamodb.faults.clear()
    assert [row["status"]["S"] for row in dynamodb.rows()] == ["pending"]


def test_change_with_a_bad_bearer_token_is_refused(
    api: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
) -> None:
    """Each change is answered 401 before AWS is called."""
    run = api.create(ada)
    dynamodb.calls.clear()
    for name in ACTOR_FIELDS:
        answer = change(api, run, name, web.bearer("ada", exp=1))
        assert (answer.status, answer.reason) == (401, "expired")
    assert dynamodb.calls == []
