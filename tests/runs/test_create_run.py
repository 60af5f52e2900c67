"""Creating a run: its creator, the answer, and the writes that DynamoDB refuses."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from serve_runs.audit.trail import ActionContext
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.views import new_item, put_once
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web, shown
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


CHANGED_ON_BEHALF_OF = {
    f"{change}_on_behalf_of": None for change in ("started", "finished", "cancelled")
}
"""For whom a new run was changed: nobody has changed it."""


def test_create_answers_with_every_field_and_a_location(
    api: RunsApi, ada: Credential, web: Web
) -> None:
    """Creating a run answers 201 with its location and every field, null where unknown."""
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
        **CHANGED_ON_BEHALF_OF,
        "who": {
            "executed_by": shown(web, "ada", name="Ada Lovelace", email="ada@example.com"),
            **dict.fromkeys(("on_behalf_of", "started_by", "finished_by", "cancelled_by")),
            **CHANGED_ON_BEHALF_OF,
        },
        "agent": None,
        "runner": None,
        "parent_run": None,
        "heartbeat_seconds": None,
        "heartbeat_at": None,
        "lost_at": None,
        "reason": None,
        "exit_code": None,
        "labels": {},
    }


def test_created_run_is_read_and_listed_unchanged(
    api: RunsApi, ada: Credential, grace: Credential
) -> None:
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


def test_run_of_a_service_account_names_an_application(api: RunsApi, nightly: Credential) -> None:
    """A service account's run names an application, stored in its own column."""
    run = api.create(nightly)
    assert run["executed_by"] == NIGHTLY
    assert (run["creator_user_id"], run["creator_service_account_id"]) == (None, "nightly")


def test_run_of_a_person_with_a_bearer_token_names_a_user(api: RunsApi, web: Web) -> None:
    """A person with a Bearer token is stored as a user."""
    run = api.create(web.bearer("ada", given_name="Ada"))
    assert run["executed_by"] == {"user": {"id": {"subject": "ada"}, "spec": {"firstName": "Ada"}}}
    assert (run["creator_user_id"], run["creator_service_account_id"]) == ("ada", None)


def test_creator_without_names_is_stored_as_subject(api: RunsApi, web: Web) -> None:
    """A caller whose token has only a subject is stored and returned with the subject alone."""
    bare = {"email": "", "given_name": "", "family_name": ""}
    run = api.create(web.browser("248289761001", **bare))
    assert run["executed_by"] == {"user": {"id": {"subject": "248289761001"}}}


@pytest.mark.parametrize("executed_by", ['{"user":', "null", "[]", '{"user":{},"application":{}}'])
def test_corrupt_identity_is_read_as_null(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, executed_by: str
) -> None:
    """Stored bytes that are not a valid identity read as null, and the run is still returned."""
    run = api.create(ada)
    for value in ({"S": executed_by}, {"B": executed_by.encode()}):
        _overwrite(dynamodb, run, "executed_by", value)
        read = api.call("GET", f"/v1/projects/apollo/runs/{run['id']}", by=ada)
        assert read.status == 200
        nobody = run["who"] | {"executed_by": None}
        assert read.json == run | {"executed_by": None, "who": nobody}


def test_run_of_an_anonymous_caller_has_no_creator(
    start_api: Callable[..., RunsApi], dynamodb: DynamoDb
) -> None:
    """An anonymous caller's run has empty creator columns and is in no index by creator."""
    api = start_api(ANONYMOUS_CALLERS="allow")
    run = api.create(NO_CREDENTIAL)
    assert run["executed_by"] is None
    assert (run["creator_user_id"], run["creator_service_account_id"]) == (None, None)
    assert api.call("GET", "/v1/projects/apollo/runs", by=NO_CREDENTIAL).json["runs"] == [run]
    index = dynamodb.client.scan(TableName=TABLE, IndexName="by-creator")
    assert index["Items"] == []


def test_creator_index_contains_only_rows_with_a_creator(
    start_api: Callable[..., RunsApi], ada: Credential, dynamodb: DynamoDb
) -> None:
    """The index by creator contains runs with a creator, and no other rows."""
    api = start_api(ANONYMOUS_CALLERS="allow")
    api.create(NO_CREDENTIAL)
    keyed = api.call(
        "POST", "/v1/projects/apollo/runs", by=ada, headers=[("idempotency-key", "k")]
    ).json
    index = dynamodb.client.scan(TableName=TABLE, IndexName="by-creator")["Items"]
    assert [row["id"]["S"] for row in index] == [keyed["id"]]
    assert len(dynamodb.rows()) == 3


def test_body_with_a_creator_is_refused(api: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """The creator follows from the credential: a body that names one is answered 400."""
    for field in ("executed_by", "creator_user_id", "creator_service_account_id", "on_behalf_of"):
        answer = api.call(
            "POST", "/v1/projects/apollo/runs", by=ada, document={field: "grace", "name": "x"}
        )
        assert (answer.status, answer.reason) == (400, "invalid_body")
    assert dynamodb.rows() == []


class TestDynamoDbConditions:
    """Writes that the table's conditions refuse, whatever the code above them does."""

    def test_row_with_two_creators_is_refused(self, dynamodb: DynamoDb) -> None:
        """The condition refuses a row with both a user and an application as creator."""
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
        ids=["no creator", "user", "service account"],
    )
    def test_row_with_at_most_one_creator_is_written(
        self, dynamodb: DynamoDb, creators: dict[str, str]
    ) -> None:
        """A row with a user, an application or no creator is written."""
        dynamodb.client.put_item(**put_once(TABLE, _item(**creators)))
        assert len(dynamodb.rows()) == 1

    def test_existing_row_is_not_overwritten(self, dynamodb: DynamoDb) -> None:
        """A second run with the same id is refused, and the first one stays."""
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
