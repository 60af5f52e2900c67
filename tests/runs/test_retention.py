"""Retention: what expires, when it does, and what its readers see until DynamoDB deletes it."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from byline.errors import Misconfigured
from byline.registration.outbox import Outbox
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.messages.requests import PostMessage
from serve_runs.messages.store import MessageStore
from serve_runs.runs.states import TRANSITIONS
from serve_runs.runs.store import RunStore
from serve_runs.runs.views import run_key
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, Meanwhile
from tests.runs.test_listing import ids, pages_of, put_all, rows_of, run_id

RUNS = "/v1/projects/apollo/runs"
DAY = 86_400
ALL = {"RUN_RETENTION_DAYS": "30", "MESSAGE_RETENTION_DAYS": "7", "AUDIT_RETENTION_DAYS": "400"}
NONE = dict.fromkeys(ALL, "0")


@pytest.fixture
def keeping(start_api: Callable[..., RunsApi]) -> RunsApi:
    """The function with a retention of each kind of row."""
    return start_api(**ALL)


def days_left(row: dict[str, Any]) -> int | None:
    """The whole days until a row expires, None for a row that does not."""
    if "expires_at" not in row:
        return None
    return round((int(row["expires_at"]["N"]) - time.time()) / DAY)


def row_of(dynamodb: DynamoDb, run: str, project: str = "apollo") -> dict[str, Any]:
    """A row of RunsTable."""
    [row] = [
        row for row in dynamodb.rows() if (row["project"]["S"], row["id"]["S"]) == (project, run)
    ]
    return row


def expire(dynamodb: DynamoDb, run: str, *, at: float | None = None) -> None:
    """Let the run's time be over, as it is before DynamoDB deletes the row."""
    dynamodb.client.update_item(
        TableName=TABLE,
        Key=run_key("apollo", run),
        UpdateExpression="SET expires_at = :past",
        ExpressionAttributeValues={":past": {"N": str(int(at or time.time() - 1))}},
    )


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
def test_run_expires_after_its_end_and_never_before(
    keeping: RunsApi, ada: Credential, dynamodb: DynamoDb, end: str
) -> None:
    """A pending or running run has no expiry, however old it is."""
    run = keeping.create(ada)["id"]
    assert days_left(row_of(dynamodb, run)) is None
    keeping.call("POST", f"{RUNS}/{run}/start", by=ada)
    assert days_left(row_of(dynamodb, run)) is None
    assert keeping.call("POST", f"{RUNS}/{run}/{end}", by=ada).status == 200
    assert days_left(row_of(dynamodb, run)) == 30


def test_tombstone_expires_after_the_deletion(
    keeping: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The retention of a deleted run starts anew, whenever the run has ended."""
    run = keeping.create(ada)["id"]
    keeping.call("POST", f"{RUNS}/{run}/cancel", by=ada)
    expire(dynamodb, run, at=time.time() + 100)
    assert keeping.call("DELETE", f"{RUNS}/{run}", by=ada).status == 204
    assert days_left(row_of(dynamodb, run, "deleted#apollo")) == 30


def test_message_and_audit_record_expire(
    keeping: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """Each kind of row has its own retention, which starts when the row is written."""
    run = keeping.create(ada)["id"]
    document = {"role": "user", "content": "hello"}
    assert keeping.call("POST", f"{RUNS}/{run}/messages", by=ada, document=document).status == 201
    messages = [row for row in dynamodb.rows() if row["project"]["S"].startswith("messages#")]
    assert [days_left(row) for row in messages] == [7, 7]
    records = [row for row in dynamodb.rows(ACCESS_TABLE) if row["scope"]["S"].startswith("audit")]
    assert [days_left(record) for record in records] == [400, 400]
    audit = keeping.call("GET", "/v1/projects/apollo/audit", by=ada, query={"run": run})
    actions = [each["action"] for each in audit.json["records"]]
    assert sorted(actions) == ["create_run", "post_user_message"]


def test_retention_of_zero_days_keeps_everything(
    start_api: Callable[..., RunsApi], ada: Credential, dynamodb: DynamoDb
) -> None:
    """No row of a run, of its messages or of the audit trail has an expiry."""
    api = start_api(**NONE)
    run = api.create(ada)["id"]
    for content in ("one", "two"):
        document = {"role": "user", "content": content}
        answer = api.call("POST", f"{RUNS}/{run}/messages", by=ada, document=document)
        assert answer.status == 201
    api.call("POST", f"{RUNS}/{run}/cancel", by=ada)
    api.call("DELETE", f"{RUNS}/{api.create(ada)['id']}", by=ada)
    rows = [*dynamodb.rows(), *dynamodb.rows(ACCESS_TABLE)]
    assert len(rows) > 5
    assert {days_left(row) for row in rows} == {None}
    assert "-" not in {row["id"]["S"] for row in dynamodb.rows() if "last" not in row}


@pytest.mark.parametrize("variable", ALL)
@pytest.mark.parametrize("value", ["-1", "1.5", "x"])
def test_unusable_retention_fails_the_cold_start(
    start_api: Callable[..., RunsApi], variable: str, value: str
) -> None:
    """A number of days that is none must not become 'for ever'."""
    with pytest.raises(Misconfigured, match=variable):
        start_api(**{variable: value})


class TestExpiredRuns:
    """A run whose time is over is absent, though DynamoDB has not deleted it yet."""

    @pytest.fixture
    def gone(self, api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> str:
        """A cancelled run whose time is over."""
        run: str = api.create(ada, runner="gpu-1")["id"]
        api.call("POST", f"{RUNS}/{run}/cancel", by=ada)
        expire(dynamodb, run)
        return run

    @pytest.mark.parametrize(
        ("method", "of"),
        [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/start"),
            ("POST", "/cancel"),
            ("GET", "/messages"),
            ("POST", "/messages"),
        ],
    )
    def test_every_route_answers_not_found(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, gone: str, method: str, of: str
    ) -> None:
        """Reading, changing, deleting it and its messages are answered 404; nothing is written."""
        before = dynamodb.rows()
        what = {"document": {"role": "user", "content": "x"}} if of == "/messages" else {}
        what = what if method == "POST" else {}
        answer = api.call(method, f"{RUNS}/{gone}{of}", by=ada, **what)
        assert (answer.status, answer.reason) == (404, "not_found")
        assert dynamodb.rows() == before

    def test_no_list_has_it(self, api: RunsApi, ada: Credential, gone: str) -> None:
        """Lists of the project, of the creator and by state leave it out."""
        left = api.create(ada)["id"]
        for path, query in (
            (RUNS, {}),
            (RUNS, {"status": "cancelled"}),
            (RUNS, {"created_by": "me"}),
            ("/v1/runs", {"created_by": "me"}),
        ):
            expected = [] if "status" in query else [left]
            assert ids(pages_of(api, ada, path, query)) == expected
        assert gone != left

    def test_it_is_no_parent(self, api: RunsApi, ada: Credential, gone: str) -> None:
        """A new run cannot name it as its parent."""
        answer = api.call("POST", RUNS, by=ada, document={"parent_run": gone})
        assert (answer.status, answer.reason) == (422, "invalid_parent_run")

    def test_message_that_is_posted_while_it_expires_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """The transaction of a message checks the expiry too."""
        run = api.create(ada)["id"]
        api.call("POST", f"{RUNS}/{run}/cancel", by=ada)
        dynamodb.faults.append(Meanwhile("TransactWriteItems", lambda: expire(dynamodb, run)))
        document = {"role": "user", "content": "x"}
        answer = api.call("POST", f"{RUNS}/{run}/messages", by=ada, document=document)
        assert (answer.status, answer.reason) == (404, "not_found")

    @pytest.mark.parametrize(("seconds", "status"), [(-1, 404), (60, 200)])
    def test_last_second_counts(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        gone: str,
        seconds: int,
        status: int,
    ) -> None:
        """A run is there until its time, and absent from then on."""
        expire(dynamodb, gone, at=time.time() + seconds)
        assert api.call("GET", f"{RUNS}/{gone}", by=ada).status == status
        assert len(api.call("GET", RUNS, by=ada).json["runs"]) == (status == 200)

    def test_many_expired_runs_end_no_list_early(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """Pages go on behind runs that are not deleted yet."""
        rows = [(run_id(number), "apollo", "ada", "failed") for number in range(300)]
        written = rows_of(rows, issuer=web.url)
        for row in written[1:]:
            row["expires_at"] = {"N": "1"}
        put_all(dynamodb, written)
        assert ids(pages_of(api, ada, RUNS, {"limit": "20"})) == [run_id(0)]


def test_project_whose_runs_have_expired_is_not_new(
    start_api: Callable[..., RunsApi], web: Web, dynamodb: DynamoDb
) -> None:
    """Nobody becomes the admin of a project by creating a run in it after its runs are gone."""
    root, eve = web.browser("ada"), web.browser("eve")
    api = start_api(PROJECT_CREATION="anyone", RUN_RETENTION_DAYS="1")
    for end in ("cancel", "delete"):
        project = f"apollo-{end}"
        run = api.create(root, project=project)["id"]
        path = f"/v1/projects/{project}/runs"
        if end == "cancel":
            assert api.call("POST", f"{path}/{run}/cancel", by=root).status == 200
        else:
            assert api.call("DELETE", f"{path}/{run}", by=root).status == 204
        for row in dynamodb.rows():
            if "expires_at" in row:
                key = {"project": row["project"], "id": row["id"]}
                dynamodb.client.delete_item(TableName=TABLE, Key=key)
        assert api.call("GET", path, by=root).json["runs"] == []
        assert api.call("POST", path, by=eve).status == 404
    assert api.call("POST", "/v1/projects/unknown/runs", by=eve).status == 201


def test_tombstone_with_a_pending_deregistration_does_not_expire(dynamodb: DynamoDb) -> None:
    """The entry of the outbox must not be deleted before the service knows of the deletion."""
    audit = AuditTrail(dynamodb.client, ACCESS_TABLE, now=time.time)
    store = RunStore(
        dynamodb.client,
        TABLE,
        audit=audit,
        now=time.time,
        new_id=str,
        outbox=Outbox(),
        retention_days=30,
    )
    put_all(dynamodb, rows_of([(run_id(1), "apollo", "ada", "running")], issuer="-"))
    action = ActionContext(None, "a request")
    store.change("apollo", run_id(1), transition=TRANSITIONS["finish"], action=action)
    store.delete("apollo", run_id(1), action=action)
    tombstone = row_of(dynamodb, run_id(1), "deleted#apollo")
    assert "unregistered" in tombstone
    assert days_left(tombstone) is None
    assert days_left({"expires_at": tombstone["kept_until"]}) == 30


def test_message_after_expired_ones_is_read_at_once(dynamodb: DynamoDb) -> None:
    """A reader does not wait for a predecessor that DynamoDB has deleted."""
    put_all(dynamodb, rows_of([(run_id(1), "apollo", "ada", "running")], issuer="-"))
    ages = iter([3 * DAY, 0, 0])
    for content in ("old", "new"):
        age = next(ages)
        store = MessageStore(
            dynamodb.client,
            TABLE,
            audit=AuditTrail(dynamodb.client, ACCESS_TABLE, now=time.time),
            now=lambda: time.time() - age,  # noqa: B023 - used in this turn only
            retention_days=1,
        )
        message, action = PostMessage("user", content), ActionContext(None, content)
        item, _ = store.post("apollo", run_id(1), message=message, action=action, key=None)
        if content == "old":
            key = {"project": item["project"], "id": item["id"]}
            dynamodb.client.delete_item(TableName=TABLE, Key=key)
    found = store.after("apollo", run_id(1), after=None, limit=10)
    assert [each["content"]["S"] for each in found] == ['"new"']
