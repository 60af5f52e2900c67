"""Creating a run: whose it is, what comes back, and what DynamoDB itself refuses."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from serve_runs.audit.trail import ActionContext
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.store import put_once
from serve_runs.runs.views import new_item
from tests.runs.identity_server import NOBODY, Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import TABLE, DynamoDb

ADA = {
    "user": {
        "id": {"subject": "ada"},
        "spec": {"firstName": "Ada", "lastName": "Lovelace", "email": "ada@example.com"},
    }
}
NIGHTLY = {"application": {"id": {"subject": "nightly"}, "spec": {"name": "nightly"}}}
MISSING = "01JD9XK3T5ZQ8W7V6R5N4M3K2J"


def test_created_run_has_every_field_and_a_location(api: RunsApi, ada: Credential) -> None:
    """Creating returns 201 with the location and every field, null where the value is unknown."""
    answer = api.call("POST", "/v1/projects/apollo/runs", by=ada)
    run = answer.json
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/v1/projects/apollo/runs/{run['id']}"
    assert len(run["id"]) == 26
    assert run["created_at"] == run["updated_at"]
    assert run["created_at"].endswith("Z")
    assert run == {
        "id": run["id"],
        "project": "apollo",
        "name": None,
        "status": "pending",
        "created_at": run["created_at"],
        "updated_at": run["created_at"],
        "executed_by": ADA,
        "on_behalf_of": None,
        "creator_user_id": "ada",
        "creator_service_account_id": None,
        "started_by": None,
        "finished_by": None,
        "cancelled_by": None,
        "agent": None,
        "runner": None,
        "parent_run": None,
        "labels": {},
    }


def test_run_reads_back_as_it_was_created(api: RunsApi, ada: Credential, grace: Credential) -> None:
    """Every read returns the fields of the body and the creator, to other callers too."""
    body = {
        "name": "Träumerei ☃",
        "agent": "claude",
        "runner": "gpu-1",
        "parent_run": api.create(grace)["id"],
        "labels": {"team/name": "ä", "empty": ""},
    }
    run = api.create(ada, "apollo", **body)
    assert run | body == run
    read = api.call("GET", f"/v1/projects/apollo/runs/{run['id']}", by=grace)
    listed = api.call("GET", "/v1/projects/apollo/runs", by=grace, query={"limit": "1"})
    assert read.status == listed.status == 200
    assert read.json == run
    assert listed.json["runs"] == [run]


def test_service_account_creates_as_an_application(api: RunsApi, nightly: Credential) -> None:
    """A service account's run names an application, stored in its own column."""
    run = api.create(nightly)
    assert run["executed_by"] == NIGHTLY
    assert (run["creator_user_id"], run["creator_service_account_id"]) == (None, "nightly")


def test_person_with_a_bearer_token_creates_as_a_user(api: RunsApi, web: Web) -> None:
    """A person with a Bearer token is stored as a user."""
    run = api.create(web.bearer("ada", given_name="Ada"))
    assert run["executed_by"] == {"user": {"id": {"subject": "ada"}, "spec": {"firstName": "Ada"}}}
    assert (run["creator_user_id"], run["creator_service_account_id"]) == ("ada", None)


def test_subject_without_a_profile_is_all_that_is_kept(api: RunsApi, web: Web) -> None:
    """A caller with only a subject is stored and returned with the subject alone."""
    bare = {"email": "", "given_name": "", "family_name": ""}
    run = api.create(web.browser("248289761001", **bare))
    assert run["executed_by"] == {"user": {"id": {"subject": "248289761001"}}}


@pytest.mark.parametrize("executed_by", ['{"user":', "null", "[]", '{"user":{},"application":{}}'])
def test_corrupt_identity_reads_as_null(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, executed_by: str
) -> None:
    """Stored bytes that are not a valid identity read as null, and the run is still returned."""
    run = api.create(ada)
    for value in ({"S": executed_by}, {"B": executed_by.encode()}):
        _overwrite(dynamodb, run, "executed_by", value)
        read = api.call("GET", f"/v1/projects/apollo/runs/{run['id']}", by=ada)
        assert read.status == 200
        assert read.json == run | {"executed_by": None}


def test_nobody_creates_a_run_without_creator_where_that_is_allowed(
    start_api: Callable[..., RunsApi], dynamodb: DynamoDb
) -> None:
    """A run without a creator has both columns empty and is in no index by creator."""
    api = start_api(ANONYMOUS_CALLERS="allow")
    run = api.create(NOBODY)
    assert run["executed_by"] is None
    assert (run["creator_user_id"], run["creator_service_account_id"]) == (None, None)
    assert api.call("GET", "/v1/projects/apollo/runs", by=NOBODY).json["runs"] == [run]
    index = dynamodb.client.scan(TableName=TABLE, IndexName="by-creator")
    assert index["Items"] == []


def test_index_holds_only_rows_that_have_a_creator(
    start_api: Callable[..., RunsApi], ada: Credential, dynamodb: DynamoDb
) -> None:
    """The index by creator holds runs with a creator, and no other rows."""
    api = start_api(ANONYMOUS_CALLERS="allow")
    api.create(NOBODY)
    keyed = api.call(
        "POST", "/v1/projects/apollo/runs", by=ada, headers=[("idempotency-key", "k")]
    ).json
    index = dynamodb.client.scan(TableName=TABLE, IndexName="by-creator")["Items"]
    assert [row["id"]["S"] for row in index] == [keyed["id"]]
    assert len(dynamodb.rows()) == 3


def test_body_cannot_name_the_creator(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """Who creates a run follows from the credential: a body that says so is refused whole."""
    for field in ("executed_by", "creator_user_id", "creator_service_account_id", "on_behalf_of"):
        answer = api.call(
            "POST", "/v1/projects/apollo/runs", by=ada, document={field: "grace", "name": "x"}
        )
        assert (answer.status, answer.reason) == (400, "invalid_body")
    assert dynamodb.rows() == []


class TestDynamoDbItself:
    """What the table refuses, whatever the code above it came to believe."""

    def test_row_with_both_creators_is_refused_by_the_condition(self, dynamodb: DynamoDb) -> None:
        """The table's condition refuses a row with both a user and an application as creator."""
        item = _item(creator_user_id="ada", creator_service_account_id="nightly")
        with pytest.raises(ClientError) as refused:
            dynamodb.client.put_item(**put_once(TABLE, item))
        assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
        with pytest.raises(ClientError) as cancelled:
            dynamodb.client.transact_write_items(TransactItems=[{"Put": put_once(TABLE, item)}])
        assert cancelled.value.response["Error"]["Code"] == "TransactionCanceledException"
        assert dynamodb.rows() == []

    @pytest.mark.parametrize(
        "creators",
        [{}, {"creator_user_id": "ada"}, {"creator_service_account_id": "nightly"}],
        ids=["nobody", "user", "service account"],
    )
    def test_row_with_at_most_one_creator_is_put(
        self, dynamodb: DynamoDb, creators: dict[str, str]
    ) -> None:
        """A row with a user, an application, or no creator is accepted."""
        dynamodb.client.put_item(**put_once(TABLE, _item(**creators)))
        assert len(dynamodb.rows()) == 1

    def test_row_that_is_there_is_never_overwritten(self, dynamodb: DynamoDb) -> None:
        """A second run of the same id is refused, and the first one stays."""
        dynamodb.client.put_item(**put_once(TABLE, _item(creator_user_id="ada")))
        with pytest.raises(ClientError):
            dynamodb.client.put_item(**put_once(TABLE, _item(creator_user_id="eve")))
        assert [row["creator_user_id"] for row in dynamodb.rows()] == [{"S": "ada"}]


def _item(**creators: str) -> Any:
    item = new_item(
        CreateRun(), project="apollo", run_id=MISSING, action=ActionContext(None, "r"), at=0
    )
    return item | {column: {"S": subject} for column, subject in creators.items()}


def _overwrite(dynamodb: DynamoDb, run: dict[str, Any], column: str, value: Any) -> None:
    dynamodb.client.update_item(
        TableName=TABLE,
        Key={"project": {"S": run["project"]}, "id": {"S": run["id"]}},
        UpdateExpression="SET #column = :value",
        ExpressionAttributeNames={"#column": column},
        ExpressionAttributeValues={":value": value},
    )
