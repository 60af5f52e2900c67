"""The audit trail of runs: each change writes one record, and a refused change writes none."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import pytest
from botocore.exceptions import ClientError

from byline.identity.caller import Caller
from byline.tables.rows import AUDIT, Contended
from serve_runs.access.decisions import POLICIES
from serve_runs.audit.trail import (
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
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
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
    """An audit trail whose clock stands at `NOW`."""
    return AuditTrail(dynamodb.client, ACCESS_TABLE, now=lambda: NOW)


@pytest.fixture
def store(dynamodb: DynamoDb, trail: AuditTrail) -> RunStore:
    """A store of runs that uses the same tables as the function."""
    return RunStore(dynamodb.client, TABLE, audit=trail, now=time.time, new_id=lambda: RUN)


def test_created_run_has_a_complete_audit_record(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """The record names caller, action, resource, time and request."""
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
        "source": "alb",
        "verified": True,
        "actor": ADA,
        "on_behalf_of": None,
        "who": {
            "actor": {
                "kind": "user",
                "issuer": web.url,
                "subject": "ada",
                "name": "Ada Lovelace",
                "email": "ada@example.com",
                "through": None,
                "link": None,
                "started_for": None,
            },
            "on_behalf_of": None,
        },
        "chain": [],
        "request_id": row["last_request"]["S"],
        "reason": None,
        "exit_code": None,
        "readers": None,
        "rights": None,
        "run": None,
    }
    assert record["at"] >= run["created_at"]


@pytest.mark.parametrize("headers", [[], [("idempotency-key", "k")]], ids=["plain", "keyed"])
def test_create_makes_one_dynamodb_call(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, headers: list[tuple[str, str]]
) -> None:
    """One transaction writes the run and its record, and nothing is read."""
    dynamodb.calls.clear()
    assert api.call("POST", RUNS, by=ada, headers=headers).status == 201
    [call] = dynamodb.calls
    assert call.operation == "TransactWriteItems"
    tables = [action["Put"]["TableName"] for action in call.document["TransactItems"]]
    assert tables == [TABLE] * (1 + len(headers)) + [ACCESS_TABLE]


@pytest.mark.parametrize(
    ("changes", "expected_actions"),
    [
        (["start", "finish"], ["create_run", "start_run", "finish_run"]),
        (["fail"], ["create_run", "fail_run"]),
        (["start", "cancel"], ["create_run", "start_run", "cancel_run"]),
    ],
)
def test_changes_of_a_run_are_recorded_in_order(
    api: RunsApi,
    ada: Credential,
    grace: Credential,
    changes: list[str],
    expected_actions: list[str],
) -> None:
    """Each change has one record with its own actor and request; the deletion's is the last."""
    run = api.create(ada)
    path = f"{RUNS}/{run['id']}"
    for change in changes:
        assert api.call("POST", f"{path}/{change}", by=grace).status == 200
    assert api.call("DELETE", path, by=ada).status == 204
    assert actions(api, ada, run=run["id"]) == [*expected_actions, "delete_run"]
    last, *others, first = records(api, ada, run=run["id"])
    assert last["actor"] == first["actor"] == ADA
    assert {record["actor"]["user"]["id"]["subject"] for record in others} == {"grace"}
    requests = [record["request_id"] for record in (first, *others, last)]
    assert len(set(requests)) == len(requests)


class TestRefusedChanges:
    """A refused change has no audit record."""

    def test_refused_change_writes_no_record(self, api: RunsApi, ada: Credential) -> None:
        """A change refused with 409 or 404 writes no record."""
        run = api.create(ada)
        assert api.call("POST", f"{RUNS}/{run['id']}/finish", by=ada).status == 409
        assert api.call("POST", f"{RUNS}/{RUN}/start", by=ada).status == 404
        assert api.call("DELETE", f"{RUNS}/{RUN}", by=ada).status == 404
        assert actions(api, ada, run=run["id"]) == ["create_run"]
        assert actions(api, ada, run=RUN) == []

    def test_refused_create_writes_no_record(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A create refused for its body or its credential writes no record."""
        assert api.call("POST", RUNS, by=ada, document={"name": ""}).status == 400
        assert api.call("POST", RUNS, by=web.browser("ada", exp=1), document={}).status == 401
        assert dynamodb.rows(ACCESS_TABLE) == []

    def test_repeated_idempotency_key_writes_one_record(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """Requests with one `Idempotency-Key` write one record, whatever their bodies are."""
        for name in ("a", "a", "b"):
            api.call(
                "POST", RUNS, by=ada, document={"name": name}, headers=[("idempotency-key", "k")]
            )
        assert len(dynamodb.rows(ACCESS_TABLE)) == 1

    @pytest.mark.parametrize(
        "fault", [conflict(code="ThrottlingError"), Refusal("TransactWriteItems", "AccessDenied")]
    )
    def test_create_without_a_writable_record_writes_no_run(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, fault: Refusal
    ) -> None:
        """A transaction that fails writes neither the run nor the record."""
        dynamodb.faults.extend([fault] * 9)
        assert api.call("POST", RUNS, by=ada).status in (500, 503)
        dynamodb.faults.clear()
        assert dynamodb.rows() == dynamodb.rows(ACCESS_TABLE) == []

    def test_concurrent_starts_write_one_record(
        self, dynamodb: DynamoDb, store: RunStore, trail: AuditTrail
    ) -> None:
        """Of eight concurrent starts one succeeds, and only that one writes a record."""
        store.create(CreateRun(), project="apollo", action=ActionContext(None, "create"))

        def start(number: int) -> str:
            action = ActionContext(None, f"start {number}")
            try:
                store.change("apollo", RUN, transition=TRANSITIONS["start"], action=action)
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
    """A record is never overwritten."""

    def test_second_record_of_one_request_is_refused(
        self, dynamodb: DynamoDb, trail: AuditTrail
    ) -> None:
        """A record's key follows from request, action and resource, so a second one is refused."""
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
    def test_records_of_one_millisecond_have_different_keys(
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
    """The accountable principal of a run and of its record."""

    def test_service_account_for_a_person_records_both(
        self, dynamodb: DynamoDb, store: RunStore
    ) -> None:
        """The record names the service account as actor and the person as accountable principal."""
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

    def test_service_account_for_no_person_is_accountable_itself(
        self, dynamodb: DynamoDb, store: RunStore
    ) -> None:
        """A service account that acts for no person is the accountable principal itself."""
        store.create(CreateRun(), project="apollo", action=ActionContext(BOT, "request"))
        [row], [record] = dynamodb.rows(), dynamodb.rows(ACCESS_TABLE)
        assert not {"on_behalf_of", "person"} & row.keys()
        assert "on_behalf_of" not in record
        assert record["answerable"] == record["principal"]

    def test_anonymous_record_has_no_accountable_principal(
        self, dynamodb: DynamoDb, store: RunStore
    ) -> None:
        """An anonymous caller's record is in no index: one partition would hold all of them."""
        store.create(CreateRun(), project="apollo", action=ActionContext(None, "request"))
        [record] = dynamodb.rows(ACCESS_TABLE)
        assert record["principal"]["S"] == "anonymous"
        assert not {"actor", "answerable"} & record.keys()

    def test_caller_of_unknown_kind_is_accountable(
        self, dynamodb: DynamoDb, store: RunStore
    ) -> None:
        """A verified caller of unknown kind is accountable, although it has no identity to show."""
        caller = Caller("unknown", "bearer", "https://issuer.example", "x", "x", "x")
        store.create(CreateRun(), project="apollo", action=ActionContext(caller, "request"))
        [record] = dynamodb.rows(ACCESS_TABLE)
        assert record["answerable"]["S"] == "unknown:https://issuer.example#x"
        assert "actor" not in record


@pytest.mark.parametrize(
    ("trust", "by", "source", "verified"),
    [
        ("verify", "nightly", "bearer", True),
        ("verify", "nobody", "none", True),
        ("forwarded", "ada", "alb", False),
        ("forwarded", "nightly", "bearer", False),
        ("ignore", "ada", "none", False),
    ],
)
def test_record_says_whether_its_caller_was_verified(
    start_api: Callable[..., RunsApi],
    web: Web,
    dynamodb: DynamoDb,
    trust: str,
    by: str,
    source: str,
    *,
    verified: bool,
) -> None:
    """A record keeps how the caller was identified, because the setting may change later."""
    api = start_api(
        IDENTITY_TRUST=trust,
        ANONYMOUS_CALLERS="allow",
        PROJECT_ADMINS="ada,application:nightly,anonymous",
    )
    callers = {
        "ada": web.browser("ada"),
        "nightly": web.bearer("nightly", client="nightly"),
        "nobody": NO_CREDENTIAL,
    }
    api.create(callers[by])
    [row] = [row for row in dynamodb.rows(ACCESS_TABLE) if row["scope"]["S"].startswith(AUDIT)]
    assert (row["source"], row["verified"]) == ({"S": source}, {"BOOL": verified})


def test_record_of_an_earlier_version_does_not_say_whether_its_caller_was_verified(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """Records without these attributes are listed with null for both."""
    run = api.create(ada)
    [row] = [row for row in dynamodb.rows(ACCESS_TABLE) if row["scope"]["S"].startswith(AUDIT)]
    earlier = {name: value for name, value in row.items() if name not in {"source", "verified"}}
    dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=earlier)
    [record] = records(api, ada, run=run["id"])
    assert (record["source"], record["verified"]) == (None, None)


def test_records_contain_no_token(
    api: RunsApi, ada: Credential, nightly: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """No row of the trail contains a part of a credential."""
    for by in (ada, nightly):
        run = api.create(by)
        api.call("POST", f"{RUNS}/{run['id']}/start", by=by)
        api.call("DELETE", f"{RUNS}/{run['id']}", by=by)
    text = json.dumps(dynamodb.rows(ACCESS_TABLE))
    assert "create_run" in text
    assert not [segment for segment in segments_of(web.tokens) if segment in text]


def test_recorded_actions_equal_the_changing_actions_of_the_policies() -> None:
    """Each action that changes a resource or reads a token is recorded, and no other is."""
    schema = (POLICIES / "byline.cedarschema").read_text()
    kinds: dict[str, set[str]] = {}
    for names, kind in re.findall(r"^\s*action ([\w, ]+) in \[(\w+)\]", schema, re.MULTILINE):
        kinds.setdefault(kind, set()).update(names.split(", "))
    assert kinds.keys() == {"create", "read", "update", "cancel", "delete", "read_token"}
    # A restart changes no registration, and a runner's message is the output of a run.
    # A read that an execution allows is recorded, and so is each end by an offboarding.
    unrecorded = {"restart_runner", "post_runner_message", "execute_run", "offboard_person"}
    # Heartbeats are not recorded. Their end is, and the one that takes a lost run back.
    unrecorded |= {"send_heartbeat"}
    by_heartbeats = {"lose_run", "resume_run"}
    expected_actions = set().union(*(names for kind, names in kinds.items() if kind != "read"))
    assert set(get_args(Action)) == expected_actions - unrecorded | by_heartbeats


def test_audit_scopes_are_distinct_and_share_the_protected_prefix(trail: AuditTrail) -> None:
    """Scopes of different resources differ, and all begin with the prefix that IAM protects."""
    names: list[tuple[Any, ...]] = [("a", "run", "x#runner#y"), ("a", "runner", "y")]
    scopes = [AuditedResource(*name).scope for name in names]
    assert len(set(scopes)) == len(scopes)
    assert all(scope.startswith(AUDIT) for scope in scopes)
