"""A lost answer of DynamoDB does not change the outcome of a request.

DynamoDB carries out the call, its answer is lost, and botocore sends the call again.
"""

import pytest

from tests.runs.identity_server import Credential
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, LostAnswer

RUNS = "/v1/projects/apollo/runs"


def test_create_with_a_lost_answer_creates_one_run(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The transaction's token makes the repeated create harmless: one row and one record."""
    dynamodb.faults.append(LostAnswer("TransactWriteItems"))
    run = api.create(ada)
    first, second = dynamodb.writes()
    assert first.document["ClientRequestToken"] == second.document["ClientRequestToken"]
    assert [row["id"]["S"] for row in dynamodb.rows()] == [run["id"]]
    assert len(dynamodb.rows(ACCESS_TABLE)) == 1


def test_create_with_a_key_and_a_lost_answer_creates_one_run(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The run, its key and its record are written once."""
    dynamodb.faults.append(LostAnswer("TransactWriteItems"))
    answer = api.call("POST", RUNS, by=ada, headers=[("idempotency-key", "k")])
    assert answer.status == 201
    assert len(dynamodb.writes()) == len(dynamodb.rows()) == 2
    assert len(dynamodb.rows(ACCESS_TABLE)) == 1


@pytest.mark.parametrize("name", ["start", "fail", "cancel"])
def test_change_with_a_lost_answer_succeeds(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, name: str
) -> None:
    """The answer is 200 with the new state, not 409."""
    run = api.create(ada)
    dynamodb.faults.append(LostAnswer("TransactWriteItems"))
    answer = api.call("POST", f"{RUNS}/{run['id']}/{name}", by=ada)
    assert answer.status == 200
    assert answer.json == api.call("GET", f"{RUNS}/{run['id']}", by=ada).json
    assert len(dynamodb.writes()) == 3
    assert len(dynamodb.rows(ACCESS_TABLE)) == 2


def test_same_change_by_another_request_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """After a lost answer a second request for the same change is answered 409."""
    run = api.create(ada)
    dynamodb.faults.append(LostAnswer("TransactWriteItems"))
    assert api.call("POST", f"{RUNS}/{run['id']}/start", by=ada).status == 200
    assert api.call("POST", f"{RUNS}/{run['id']}/start", by=ada).status == 409


def test_delete_with_a_lost_answer_succeeds(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The answer is 204, with one tombstone and one record."""
    run = api.create(ada)
    dynamodb.faults.append(LostAnswer("TransactWriteItems"))
    assert api.call("DELETE", f"{RUNS}/{run['id']}", by=ada).status == 204
    assert [row["project"]["S"] for row in dynamodb.rows()] == ["deleted#apollo"]
    assert len(dynamodb.rows(ACCESS_TABLE)) == 2


@pytest.mark.parametrize(
    ("operation", "method", "path"),
    [
        ("GetItem", "GET", "/v1/projects/apollo/runs/{id}"),
        ("Query", "GET", "/v1/projects/apollo/runs"),
        ("Query", "GET", "/v1/runs?created_by"),
    ],
)
def test_read_with_a_lost_answer_is_repeated(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, operation: str, method: str, path: str
) -> None:
    """A read is repeated and succeeds."""
    run = api.create(ada)
    dynamodb.faults.append(LostAnswer(operation))
    path, _, parameter = path.format(id=run["id"]).partition("?")
    answer = api.call(method, path, by=ada, query={parameter: "me"} if parameter else {})
    assert answer.status == 200
