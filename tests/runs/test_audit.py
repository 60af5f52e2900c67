"""The audit trail of runs: each change leaves one record, and what was not done leaves none."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest
from botocore.exceptions import ClientError

from byline.identity.caller import Caller
from byline.tables.rows import Contended
from serve_runs.access.decisions import POLICIES
from serve_runs.audit.trail import (
    AUDIT,
    Action,
    ActionContext,
    AuditedResource,
    AuditTrail,
    RepresentedPerson,
)
from serve_runs.errors import RequestFailed
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import RunStore
from serve_runs.runs.views import run_json
from tests.identity.alb_tokens import segments_of
from tests.runs.audit_api import actions, records
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi, reason_of
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, Refusal, conflict

RUNS = "/v1/projects/apollo/runs"
RUN = "01JD9XK3T5ZQ8W7V6R5N4M3K2J"
NOW = 1_800_000_000.25
ADA = {
    "user": {
        "id": {"subject": "ada"},
        "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
    }
}
BOT = Caller("application", "bearer", "https://issuer.example", "bot", "bot", "bot")
FOR_GRACE = RepresentedPerson(
    "user:https://issuer.example#grace", '{"user":{"id":{"subject":"grace"},"spec":{}}}'
)


@pytest.fixture
def trail(dynamodb: DynamoDb) -> AuditTrail:
    """The trail, at a time that stands."""
    return AuditTrail(dynamodb.client, ACCESS_TABLE, now=lambda: NOW)


@pytest.fixture
def store(dynamodb: DynamoDb, trail: AuditTrail) -> RunStore:
    """The store of runs, beside the function."""
    return RunStore(dynamodb.client, TABLE, audit=trail, now=time.time, new_id=lambda: RUN)


def test_created_run_is_on_record_whole(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """Who, what, when, by which request; nothing is left out that is known."""
    run = api.create(ada)
    [record] = records(api, ada, run=run["id"])
    [row] = dynamodb.rows()
    assert record == {
        "id": record["id"],
        "at": record["at"],
        "action": "create_run",
        "project": "apollo",
        "resource": {"type": "run", "id": run["id"]},
        "principal": f"user:{web.url}#ada",
        "actor": ADA,
        "on_behalf_of": None,
        "request_id": row["last_request"]["S"],
        "run": None,
    }
    assert record["at"] >= run["created_at"]


@pytest.mark.parametrize("keyed", [[], [("idempotency-key", "k")]], ids=["plain", "keyed"])
def test_create_is_one_call_of_dynamodb(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, keyed: list[tuple[str, str]]
) -> None:
    """The hot path: the run and its record are written in one request, and nothing is read."""
    dynamodb.calls.clear()
    assert api.call("POST", RUNS, by=ada, headers=keyed).status == 201
    [call] = dynamodb.calls
    assert call.operation == "TransactWriteItems"
    tables = [action["Put"]["TableName"] for action in call.document["TransactItems"]]
    assert tables == [TABLE] * (1 + len(keyed)) + [ACCESS_TABLE]


@pytest.mark.parametrize(
    ("changes", "recorded"),
    [
        (["start", "finish"], ["create_run", "start_run", "finish_run"]),
        (["fail"], ["create_run", "fail_run"]),
        (["start", "cancel"], ["create_run", "start_run", "cancel_run"]),
    ],
)
def test_each_change_leaves_one_record(
    api: RunsApi, ada: Credential, grace: Credential, changes: list[str], recorded: list[str]
) -> None:
    """In their order, each with its own actor and request; the last one is of the deletion."""
    run = api.create(ada)
    path = f"{RUNS}/{run['id']}"
    for change in changes:
        assert api.call("POST", f"{path}/{change}", by=grace).status == 200
    assert api.call("DELETE", path, by=ada).status == 204
    assert actions(api, ada, run=run["id"]) == [*recorded, "delete_run"]
    last, *others, first = records(api, ada, run=run["id"])
    assert last["actor"] == first["actor"] == ADA
    assert {record["actor"]["user"]["id"]["subject"] for record in others} == {"grace"}
    requests = [record["request_id"] for record in (first, *others, last)]
    assert len(set(requests)) == len(requests)


class TestNothingDone:
    """What was refused is not on record: a record says that something was done."""

    def test_refused_change_leaves_no_record(self, api: RunsApi, ada: Credential) -> None:
        """409 for a state that does not follow, 404 for what is not there."""
        run = api.create(ada)
        assert api.call("POST", f"{RUNS}/{run['id']}/finish", by=ada).status == 409
        assert api.call("POST", f"{RUNS}/{RUN}/start", by=ada).status == 404
        assert api.call("DELETE", f"{RUNS}/{RUN}", by=ada).status == 404
        assert actions(api, ada, run=run["id"]) == ["create_run"]
        assert actions(api, ada, run=RUN) == []

    def test_refused_create_leaves_no_record(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A bad body, a bad credential."""
        assert api.call("POST", RUNS, by=ada, document={"name": ""}).status == 400
        assert api.call("POST", RUNS, by=web.browser("ada", exp=1), document={}).status == 401
        assert dynamodb.rows(ACCESS_TABLE) == []

    def test_repeated_key_leaves_one_record(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """The run was created once, however often it was asked for; another body created none."""
        for name in ("a", "a", "b"):
            api.call(
                "POST", RUNS, by=ada, document={"name": name}, headers=[("idempotency-key", "k")]
            )
        assert len(dynamodb.rows(ACCESS_TABLE)) == 1

    @pytest.mark.parametrize(
        "trouble", [conflict(code="ThrottlingError"), Refusal("TransactWriteItems", "AccessDenied")]
    )
    def test_change_that_cannot_be_recorded_is_not_made(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, trouble: Refusal
    ) -> None:
        """Neither without the other: no run, no record."""
        dynamodb.troubles.extend([trouble] * 9)
        assert api.call("POST", RUNS, by=ada).status in (500, 503)
        dynamodb.troubles.clear()
        assert dynamodb.rows() == dynamodb.rows(ACCESS_TABLE) == []

    def test_losers_of_a_race_leave_no_record(
        self, dynamodb: DynamoDb, store: RunStore, trail: AuditTrail
    ) -> None:
        """Of eight that start a run at once, one does, and one is on record."""
        store.create(CreateRun(), project="apollo", action=ActionContext(None, "create"))

        def start(number: int) -> str:
            act = ActionContext(None, f"start {number}")
            try:
                store.change("apollo", RUN, transition=TRANSITIONS["start"], action=act)
            except (RequestFailed, Contended) as failure:
                return reason_of(failure)
            return "started"

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(start, range(8)))
        assert answers.count("started") == 1
        assert set(answers) <= {"started", "wrong_state", "store_unavailable"}
        [row] = dynamodb.rows()
        started = [row for row in dynamodb.rows(ACCESS_TABLE) if row["action"]["S"] == "start_run"]
        assert [record["request_id"] for record in started] == [row["last_request"]]


class TestAppendOnly:
    """A record is never written over, by whatever comes to have its key."""

    def test_record_of_one_request_is_written_once(
        self, dynamodb: DynamoDb, trail: AuditTrail
    ) -> None:
        """Its key follows from the request and what it did, so a second one is refused."""
        resource = AuditedResource("apollo", "run", RUN)
        first = trail.record(ActionContext(None, "request"), "start_run", resource)
        second = trail.record(ActionContext(BOT, "request"), "start_run", resource)
        dynamodb.client.transact_write_items(TransactItems=[first])
        with pytest.raises(ClientError) as refused:
            dynamodb.client.transact_write_items(TransactItems=[second])
        assert refused.value.response["Error"]["Code"] == "TransactionCanceledException"
        [record] = dynamodb.rows(ACCESS_TABLE)
        assert record["principal"]["S"] == "anonymous"

    @pytest.mark.parametrize(
        ("request_id", "action", "resource"),
        [
            ("another", "start_run", AuditedResource("apollo", "run", RUN)),
            ("request", "cancel_run", AuditedResource("apollo", "run", RUN)),
            ("request", "start_run", AuditedResource("apollo", "run", f"{RUN[:-1]}K")),
            ("request", "start_run", AuditedResource("gemini", "run", RUN)),
        ],
    )
    def test_records_of_anything_else_stand_beside_it(
        self,
        dynamodb: DynamoDb,
        trail: AuditTrail,
        request_id: str,
        action: Action,
        resource: AuditedResource,
    ) -> None:
        """Another request, action or resource in the same millisecond has a key of its own."""
        first = trail.record(
            ActionContext(BOT, "request"), "start_run", AuditedResource("apollo", "run", RUN)
        )
        other = trail.record(ActionContext(BOT, request_id), action, resource)
        dynamodb.client.transact_write_items(TransactItems=[first, other])
        one, two = dynamodb.rows(ACCESS_TABLE)
        assert one["entry"] != two["entry"]


class TestOnBehalfOf:
    """What a service account does for a person is the person's to answer for, and says both."""

    def test_run_and_record_name_the_person(self, dynamodb: DynamoDb, store: RunStore) -> None:
        """The record names the service account as actor, and the person for whom it acts."""
        store.create(CreateRun(), project="apollo", action=ActionContext(BOT, "request", FOR_GRACE))
        [row] = dynamodb.rows()
        run = run_json(row)
        assert run["executed_by"]["application"]["id"] == {"subject": "bot"}
        assert run["on_behalf_of"]["user"]["id"] == {"subject": "grace"}
        assert (run["creator_user_id"], run["creator_service_account_id"]) == (None, "bot")
        assert row["person"]["S"] == FOR_GRACE.principal
        [record] = dynamodb.rows(ACCESS_TABLE)
        assert record["principal"]["S"] == "application:https://issuer.example#bot"
        assert record["on_behalf_of"]["S"] == FOR_GRACE.identity
        assert record["answerable"]["S"] == FOR_GRACE.principal

    def test_who_acts_for_nobody_answers_themselves(
        self, dynamodb: DynamoDb, store: RunStore
    ) -> None:
        """Nor does the run name anybody else."""
        store.create(CreateRun(), project="apollo", action=ActionContext(BOT, "request"))
        [row], [record] = dynamodb.rows(), dynamodb.rows(ACCESS_TABLE)
        assert not {"on_behalf_of", "person"} & row.keys()
        assert "on_behalf_of" not in record
        assert record["answerable"] == record["principal"]

    def test_nobody_answers_for_nobodys_doing(self, dynamodb: DynamoDb, store: RunStore) -> None:
        """The record is there, and in no index: else all of nobody's would share one partition."""
        store.create(CreateRun(), project="apollo", action=ActionContext(None, "request"))
        [record] = dynamodb.rows(ACCESS_TABLE)
        assert record["principal"]["S"] == "anonymous"
        assert not {"actor", "answerable"} & record.keys()

    def test_verified_caller_of_unknown_kind_is_not_nobody(
        self, dynamodb: DynamoDb, store: RunStore
    ) -> None:
        """No identity can be shown, and still it is known whose token it was."""
        caller = Caller("unknown", "bearer", "https://issuer.example", "x", "x", "x")
        store.create(CreateRun(), project="apollo", action=ActionContext(caller, "request"))
        [record] = dynamodb.rows(ACCESS_TABLE)
        assert record["answerable"]["S"] == "unknown:https://issuer.example#x"
        assert "actor" not in record


def test_records_hold_no_token(
    api: RunsApi, ada: Credential, nightly: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """No part of any credential that was sent is in any row."""
    for by in (ada, nightly):
        run = api.create(by)
        api.call("POST", f"{RUNS}/{run['id']}/start", by=by)
        api.call("DELETE", f"{RUNS}/{run['id']}", by=by)
    text = json.dumps(dynamodb.rows(ACCESS_TABLE))
    assert "create_run" in text
    assert not [segment for segment in segments_of(web.tokens) if segment in text]


def test_records_are_named_as_the_policies_name_actions() -> None:
    """Every action that changes or hands out something is recorded by its own name, no other is."""
    schema = (POLICIES / "byline.cedarschema").read_text()
    kinds: dict[str, set[str]] = {}
    for names, kind in re.findall(r"^\s*action ([\w, ]+) in \[(\w+)\]", schema, re.MULTILINE):
        kinds.setdefault(kind, set()).update(names.split(", "))
    assert kinds.keys() == {"create", "read", "update", "cancel", "delete", "read_token"}
    # A restart changes nothing that was registered; a message is a record of itself.
    unrecorded = {"restart_runner", "post_user_message", "post_runner_message"}
    recorded = set().union(*(names for kind, names in kinds.items() if kind != "read"))
    assert set(get_args(Action)) == recorded - unrecorded


def test_no_other_row_can_be_taken_for_a_record(trail: AuditTrail) -> None:
    """A project's name has no `#`, so what IAM protects is records, and all of them."""
    names: list[tuple[Any, ...]] = [("a", "run", "x#runner#y"), ("a", "runner", "y")]
    scopes = [AuditedResource(*name).scope for name in names]
    assert len(set(scopes)) == len(scopes)
    assert all(scope.startswith(AUDIT) for scope in scopes)
