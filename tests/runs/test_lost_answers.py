"""Every retry is harmless: an answer that is lost on its way back changes nothing of the outcome.

The write goes through, DynamoDB's answer does not arrive, botocore sends the request again.
"""

import pytest

from tests.runs.identity_server import Credential
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, LostAnswer

RUNS = "/v1/projects/apollo/runs"


def test_create_whose_answer_was_lost_gives_one_run(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """201, one row and one record: the transaction's token makes it happen once."""
    dynamodb.troubles.append(LostAnswer("TransactWriteItems"))
    run = api.create(ada)
    first, second = dynamodb.writes()
    assert first.document["ClientRequestToken"] == second.document["ClientRequestToken"]
    assert [row["id"]["S"] for row in dynamodb.rows()] == [run["id"]]
    assert len(dynamodb.rows(ACCESS_TABLE)) == 1


def test_keyed_create_whose_answer_was_lost_gives_one_run(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """201, one run, and its key is remembered once."""
    dynamodb.troubles.append(LostAnswer("TransactWriteItems"))
    answer = api.call("POST", RUNS, by=ada, headers=[("idempotency-key", "k")])
    assert answer.status == 201
    assert len(dynamodb.writes()) == len(dynamodb.rows()) == 2
    assert len(dynamodb.rows(ACCESS_TABLE)) == 1


@pytest.mark.parametrize("name", ["start", "fail", "cancel"])
def test_change_whose_answer_was_lost_is_a_success(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, name: str
) -> None:
    """200 with the new state, not 409 because of our own first attempt."""
    run = api.create(ada)
    dynamodb.troubles.append(LostAnswer("TransactWriteItems"))
    answer = api.call("POST", f"{RUNS}/{run['id']}/{name}", by=ada)
    assert answer.status == 200
    assert answer.json == api.call("GET", f"{RUNS}/{run['id']}", by=ada).json
    assert len(dynamodb.writes()) == 3
    assert len(dynamodb.rows(ACCESS_TABLE)) == 2


def test_same_change_by_another_request_is_still_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """Only our own lost answer is forgiven: a second request gets its 409."""
    run = api.create(ada)
    dynamodb.troubles.append(LostAnswer("TransactWriteItems"))
    assert api.call("POST", f"{RUNS}/{run['id']}/start", by=ada).status == 200
    assert api.call("POST", f"{RUNS}/{run['id']}/start", by=ada).status == 409


def test_delete_whose_answer_was_lost_is_a_success(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """204, one tombstone and one record."""
    run = api.create(ada)
    dynamodb.troubles.append(LostAnswer("TransactWriteItems"))
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
def test_read_whose_answer_was_lost_is_read_again(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, operation: str, method: str, path: str
) -> None:
    """200 all the same."""
    run = api.create(ada)
    dynamodb.troubles.append(LostAnswer(operation))
    path, _, mine = path.format(id=run["id"]).partition("?")
    answer = api.call(method, path, by=ada, query={mine: "me"} if mine else {})
    assert answer.status == 200
