"""`Idempotency-Key`: the same key, caller and body gives the same run."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from ulid import ULID

from byline.tables.rows import Contended
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.idempotency import IDEMPOTENCY_SECONDS
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.store import RunStore
from tests.runs.access_rows import AccessRows
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, conflict

RUNS = "/v1/projects/apollo/runs"


def create_with_key(
    api: RunsApi, by: Credential, key: str = "retry-1", *, path: str = RUNS, **body: Any
) -> Answer:
    """Create a run with an `Idempotency-Key`."""
    return api.call("POST", path, by=by, document=body, headers=[("Idempotency-Key", key)])


def test_same_key_caller_and_body_gives_the_same_run(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The second answer is 200 with the run in its current state, and one run exists."""
    first = create_with_key(api, ada, name="a", labels={"x": "1", "y": "2"})
    api.call("POST", f"{RUNS}/{first.json['id']}/start", by=ada)
    again = create_with_key(api, ada, labels={"y": "2", "x": "1"}, name="a")
    assert (first.status, again.status) == (201, 200)
    assert again.json["id"] == first.json["id"]
    assert again.json["status"] == "running"
    assert again.headers["location"] == first.headers["location"]
    assert len(_runs(dynamodb)) == 1


def test_same_key_with_another_token_of_the_caller_gives_the_same_run(
    api: RunsApi, web: Web
) -> None:
    """The caller is issuer and subject: a new token, or one of another kind, finds the run."""
    first = create_with_key(api, web.browser("ada"))
    assert create_with_key(api, web.browser("ada", given_name="Ada")).json["id"] == first.json["id"]
    assert create_with_key(api, web.bearer("ada")).json["id"] == first.json["id"]


def test_same_key_with_another_body_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """Another body is answered 422, and nothing is written."""
    create_with_key(api, ada, name="a")
    before = dynamodb.rows()
    answer = create_with_key(api, ada, name="b")
    assert (answer.status, answer.reason) == (422, "idempotency_conflict")
    assert dynamodb.rows() == before


def test_same_key_of_an_application_with_a_persons_subject_gives_another_run(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """The application `ada` is not the person `ada`, and its keys are separate."""
    AccessRows(dynamodb, web).grant("project:editor", "ada", kind="application")
    mine, theirs = create_with_key(api, ada), create_with_key(api, web.bearer("ada", client="ada"))
    assert (mine.status, theirs.status) == (201, 201)
    assert mine.json["id"] != theirs.json["id"]


def test_same_key_of_another_caller_gives_another_run(
    api: RunsApi, ada: Credential, grace: Credential
) -> None:
    """A caller cannot find another caller's run by guessing its key."""
    mine, theirs = create_with_key(api, ada), create_with_key(api, grace)
    assert (mine.status, theirs.status) == (201, 201)
    assert theirs.json["creator_user_id"] == "grace"
    assert mine.json["id"] != theirs.json["id"]


def test_same_key_in_another_project_gives_another_run(api: RunsApi, ada: Credential) -> None:
    """Keys of different projects are separate."""
    other = create_with_key(api, ada, path="/v1/projects/gemini/runs")
    assert create_with_key(api, ada).status == other.status == 201


def test_requests_without_a_key_create_one_run_each(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """Two creates without a key create two runs."""
    api.create(ada)
    api.create(ada)
    assert len(_runs(dynamodb)) == 2


def test_key_of_a_deleted_run_is_refused(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """The key of a deleted run is answered 409, and no run is created."""
    run = create_with_key(api, ada).json
    api.call("DELETE", f"{RUNS}/{run['id']}", by=ada)
    answer = create_with_key(api, ada)
    assert (answer.status, answer.reason) == (409, "run_deleted")
    assert _runs(dynamodb) == []


@pytest.mark.parametrize(("seconds_after_expiry", "status"), [(0, 201), (-60, 200)])
def test_expired_key_creates_another_run(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, seconds_after_expiry: int, status: int
) -> None:
    """A key counts until its expiry, even where DynamoDB has not yet deleted its row."""
    create_with_key(api, ada)
    record = next(row for row in dynamodb.rows() if "expires_at" in row)
    lifetime = int(record["expires_at"]["N"]) - IDEMPOTENCY_SECONDS
    dynamodb.client.update_item(
        TableName=TABLE,
        Key={"project": record["project"], "id": record["id"]},
        UpdateExpression="SET expires_at = :over",
        ExpressionAttributeValues={":over": {"N": str(lifetime - seconds_after_expiry)}},
    )
    assert create_with_key(api, ada).status == status


def test_key_of_a_refused_request_can_be_used_again(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A refused body leaves the key unused."""
    assert create_with_key(api, ada, name="").status == 400
    assert dynamodb.rows() == []
    assert create_with_key(api, ada, name="a").status == 201


@pytest.mark.parametrize(
    "values", [["a", "b"], ["a", "a"], [""], [" "], ["ä"], ["a" * 256], ["a\n"], ["a b"], ["\0"]]
)
def test_invalid_key_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, values: list[str]
) -> None:
    """A key has 1 to 255 visible characters; any other is answered 400, and nothing is written."""
    headers = [("idempotency-key", value) for value in values]
    answer = api.call("POST", RUNS, by=ada, headers=headers)
    assert (answer.status, answer.reason) == (400, "invalid_idempotency_key")
    assert dynamodb.rows() == []


def test_longest_key_is_accepted(api: RunsApi, ada: Credential) -> None:
    """A key of 255 characters is accepted."""
    assert create_with_key(api, ada, "k" * 255).status == 201


def test_concurrent_creates_with_one_key_give_one_run(dynamodb: DynamoDb) -> None:
    """Of eight concurrent creates one creates the run, and all return it.

    A create that lost every retry to the others is 503, and its client sends it again.
    """

    def now() -> float:
        return 1_800_000_000

    audit = AuditTrail(dynamodb.client, ACCESS_TABLE, now=now)
    store = RunStore(dynamodb.client, TABLE, audit=audit, now=now, new_id=lambda: str(ULID()))

    def create(number: int) -> tuple[str, str]:
        while True:
            action = ActionContext(None, str(number))
            with suppress(Contended):
                run, outcome = store.create(CreateRun(), project="apollo", action=action, key="k")
                return run["id"]["S"], outcome

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(create, range(8)))
    assert len({run for run, _ in answers}) == 1
    assert sorted(outcome for _, outcome in answers) == ["created"] + ["repeated"] * 7
    assert len(_runs(dynamodb)) == len(dynamodb.rows(ACCESS_TABLE)) == 1


def test_conflicting_create_is_retried(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """A create whose transaction conflicts with another succeeds by a retry."""
    dynamodb.faults.extend([conflict(), conflict(code="ThrottlingError")])
    assert create_with_key(api, ada).status == 201
    assert len(_runs(dynamodb)) == 1


def test_persistent_conflict_is_unavailable(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A create that keeps conflicting is answered 503 with `Retry-After`, and writes nothing."""
    dynamodb.faults.extend([conflict()] * 20)
    answer = create_with_key(api, ada)
    assert (answer.status, answer.reason) == (503, "store_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    dynamodb.faults.clear()
    assert dynamodb.rows() == []


def _runs(dynamodb: DynamoDb) -> list[Any]:
    """The rows of runs, without tombstones and keys."""
    return [row for row in dynamodb.rows() if "#" not in row["project"]["S"]]
