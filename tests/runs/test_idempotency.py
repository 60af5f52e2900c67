"""`Idempotency-Key`: the same key, caller and body gives the same run."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.idempotency import IDEMPOTENCY_SECONDS
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.store import RunStore
from tests.runs.identity_server import Credential, Web
from tests.runs.rights_given import Rights
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, conflict

RUNS = "/v1/projects/apollo/runs"


def keyed(
    api: RunsApi, by: Credential, key: str = "retry-1", *, path: str = RUNS, **body: Any
) -> Answer:
    return api.call("POST", path, by=by, document=body, headers=[("Idempotency-Key", key)])


def test_same_key_caller_and_body_gives_the_same_run(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """201, then 200 with the same run as it is by now, and one row."""
    first = keyed(api, ada, name="a", labels={"x": "1", "y": "2"})
    api.call("POST", f"{RUNS}/{first.json['id']}/start", by=ada)
    again = keyed(api, ada, labels={"y": "2", "x": "1"}, name="a")
    assert (first.status, again.status) == (201, 200)
    assert again.json["id"] == first.json["id"]
    assert again.json["status"] == "running"
    assert again.headers["location"] == first.headers["location"]
    assert len(_runs(dynamodb)) == 1


def test_token_of_another_session_is_the_same_caller(api: RunsApi, web: Web) -> None:
    """The caller is (issuer, subject): a renewed token, or one of another kind, finds the run."""
    first = keyed(api, web.browser("ada"))
    assert keyed(api, web.browser("ada", given_name="Ada")).json["id"] == first.json["id"]
    assert keyed(api, web.bearer("ada")).json["id"] == first.json["id"]


def test_another_body_is_refused(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """422, and nothing is written."""
    keyed(api, ada, name="a")
    before = dynamodb.rows()
    answer = keyed(api, ada, name="b")
    assert (answer.status, answer.reason) == (422, "idempotency_conflict")
    assert dynamodb.rows() == before


def test_application_of_a_persons_name_has_keys_of_its_own(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A client that somebody registers as `ada` is not the person `ada`."""
    Rights(dynamodb, web).give("project:editor", "ada", kind="application")
    mine, theirs = keyed(api, ada), keyed(api, web.bearer("ada", client="ada"))
    assert (mine.status, theirs.status) == (201, 201)
    assert mine.json["id"] != theirs.json["id"]


def test_another_callers_same_key_gives_their_own_run(
    api: RunsApi, ada: Credential, grace: Credential
) -> None:
    """Nobody finds another's run by guessing their key."""
    mine, theirs = keyed(api, ada), keyed(api, grace)
    assert (mine.status, theirs.status) == (201, 201)
    assert theirs.json["creator_user_id"] == "grace"
    assert mine.json["id"] != theirs.json["id"]


def test_same_key_in_another_project_gives_another_run(api: RunsApi, ada: Credential) -> None:
    """A key belongs to its project."""
    other = keyed(api, ada, path="/v1/projects/gemini/runs")
    assert keyed(api, ada).status == other.status == 201


def test_requests_without_a_key_give_a_run_each(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """Only the key makes two requests one."""
    api.create(ada)
    api.create(ada)
    assert len(_runs(dynamodb)) == 2


def test_key_whose_run_was_deleted_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """409: neither an empty answer nor the run risen from the dead."""
    run = keyed(api, ada).json
    api.call("DELETE", f"{RUNS}/{run['id']}", by=ada)
    answer = keyed(api, ada)
    assert (answer.status, answer.reason) == (409, "run_deleted")
    assert _runs(dynamodb) == []


@pytest.mark.parametrize(("past_its_time", "status"), [(0, 201), (-60, 200)])
def test_key_counts_until_its_time_is_over(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, past_its_time: int, status: int
) -> None:
    """A record that DynamoDB has not yet deleted, but that is over, is written anew."""
    keyed(api, ada)
    record = next(row for row in dynamodb.rows() if "expires_at" in row)
    lifetime = int(record["expires_at"]["N"]) - IDEMPOTENCY_SECONDS
    dynamodb.client.update_item(
        TableName=TABLE,
        Key={"project": record["project"], "id": record["id"]},
        UpdateExpression="SET expires_at = :over",
        ExpressionAttributeValues={":over": {"N": str(lifetime - past_its_time)}},
    )
    assert keyed(api, ada).status == status


def test_key_that_was_rejected_with_its_request_is_not_spent(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A body that is refused leaves the key free."""
    assert keyed(api, ada, name="").status == 400
    assert dynamodb.rows() == []
    assert keyed(api, ada, name="a").status == 201


@pytest.mark.parametrize(
    "values", [["a", "b"], ["a", "a"], [""], [" "], ["ä"], ["a" * 256], ["a\n"], ["a b"], ["\0"]]
)
def test_key_that_is_none_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, values: list[str]
) -> None:
    """One key of 1 to 255 visible characters, or 400 and nothing written."""
    headers = [("idempotency-key", value) for value in values]
    answer = api.call("POST", RUNS, by=ada, headers=headers)
    assert (answer.status, answer.reason) == (400, "invalid_idempotency_key")
    assert dynamodb.rows() == []


def test_longest_key_is_accepted(api: RunsApi, ada: Credential) -> None:
    """255 characters, the boundary's other side."""
    assert keyed(api, ada, "k" * 255).status == 201


def test_concurrent_creates_with_one_key_give_one_run(dynamodb: DynamoDb) -> None:
    """Of eight at once one creates, and all get the same run."""
    ids = iter(f"01JD9XK3T5ZQ8W7V6R5N4M3K2{letter}" for letter in "0123456789ABCDEF")

    def now() -> float:
        return 1_800_000_000

    audit = AuditTrail(dynamodb.client, ACCESS_TABLE, now=now)
    store = RunStore(dynamodb.client, TABLE, audit=audit, now=now, new_id=lambda: next(ids))

    def create(number: int) -> tuple[str, str]:
        run, outcome = store.create(
            CreateRun(), project="apollo", action=ActionContext(None, str(number)), key="k"
        )
        return run["id"]["S"], outcome

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(create, range(8)))
    assert len({run for run, _ in answers}) == 1
    assert sorted(outcome for _, outcome in answers) == ["created"] + ["repeated"] * 7
    assert len(_runs(dynamodb)) == len(dynamodb.rows(ACCESS_TABLE)) == 1


def test_conflict_that_passes_is_waited_out(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A transaction that another one was in the way of is tried again."""
    dynamodb.troubles.extend([conflict(), conflict(code="ThrottlingError")])
    assert keyed(api, ada).status == 201
    assert len(_runs(dynamodb)) == 1


def test_conflict_that_stays_is_unavailable(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """503 with `Retry-After`, and nothing written."""
    dynamodb.troubles.extend([conflict()] * 20)
    answer = keyed(api, ada)
    assert (answer.status, answer.reason) == (503, "store_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    dynamodb.troubles.clear()
    assert dynamodb.rows() == []


def _runs(dynamodb: DynamoDb) -> list[Any]:
    return [row for row in dynamodb.rows() if "#" not in row["project"]["S"]]
