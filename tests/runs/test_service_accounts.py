"""Service accounts: an application acts for the person that registered it by its token."""

import time
from collections.abc import Callable

import pytest

from serve_runs.people.holdings import HOLDER_INDEX
from serve_runs.service_accounts.requests import CreateServiceAccount
from tests.runs.access_rows import (
    ACCOUNTS,
    PROJECT,
    AccessRows,
    acts_for,
    creation_status,
    register,
    token_of,
)
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, Meanwhile

LIN = {
    "user": {
        "id": {"subject": "lin"},
        "spec": {"firstName": "Lin", "lastName": "Lee", "email": "lin@example.com"},
    }
}


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


@pytest.fixture
def lin(web: Web, access_rows: AccessRows) -> Credential:
    """An editor of the project and of no other."""
    access_rows.grant("project:editor", "lin")
    return web.browser("lin", given_name="Lin", family_name="Lee", email="lin@example.com")


@pytest.fixture
def tom(web: Web, access_rows: AccessRows) -> Credential:
    """Another editor of the project."""
    access_rows.grant("project:editor", "tom")
    return web.browser("tom")


@pytest.fixture
def robot(web: Web) -> Credential:
    """A service account without a role of its own."""
    return web.bearer("robot", client="robot")


def test_registered_service_account_acts_for_its_person(
    api: RunsApi, lin: Credential, robot: Credential, web: Web, access_rows: AccessRows
) -> None:
    """Registering returns 201 with the location; the token's subject then acts for the person."""
    assert acts_for(api, robot) is None
    answer = register(api, lin, robot, name="nightly training")
    assert answer.status == 201
    account = answer.json
    assert answer.headers["location"] == f"{ACCOUNTS}/{account['id']}"
    assert account == {
        "id": account["id"],
        "project": "apollo",
        "name": "nightly training",
        "issuer": web.url,
        "subject": "robot",
        "role": "project:editor",
        "acts_for": LIN,
        "who": account["who"],
        "expires_at": None,
        "created_at": account["created_at"],
        "updated_at": account["created_at"],
    }
    assert api.call("GET", answer.headers["location"], by=lin).json == account
    assert acts_for(api, robot) == LIN
    [record] = access_rows.records("create_service_account")
    assert record["resource_id"] == {"S": account["id"]}
    assert record["principal"] == {"S": f"user:{web.url}#lin"}


def test_same_registration_again_changes_nothing(
    api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """The second registration is answered 200 with the same body, and nothing is written."""
    first = register(api, lin, robot)
    writes = len(dynamodb.writes())
    again = register(api, lin, robot)
    assert (again.status, again.json) == (200, first.json)
    assert len(dynamodb.writes()) == writes


def test_registration_again_changes_role_and_name(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """The change is in both rows and has a record; id and creation time stay."""
    first = register(api, lin, robot).json
    changed = register(api, lin, robot, role="project:viewer", name="reader")
    assert changed.status == 200
    assert changed.json["role"] == "project:viewer"
    assert changed.json["name"] == "reader"
    assert (changed.json["id"], changed.json["created_at"]) == (first["id"], first["created_at"])
    assert api.call("GET", f"{ACCOUNTS}/{first['id']}", by=lin).json == changed.json
    assert creation_status(api, robot) == 403
    assert len(access_rows.records("create_service_account")) == 2


def test_service_account_of_another_person_is_refused(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """The answer is 409 without the name of the other person."""
    register(api, lin, robot)
    writes = len(dynamodb.writes())
    refused = register(api, tom, robot)
    assert (refused.status, refused.reason) == (409, "already_registered")
    assert "lin" not in refused.json["detail"]
    assert len(dynamodb.writes()) == writes
    assert acts_for(api, robot) == LIN


def test_second_of_two_concurrent_registrations_is_refused(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """The transaction refuses a registration where another person's was written meanwhile."""
    other: list[int] = []
    dynamodb.faults.append(
        Meanwhile("TransactWriteItems", lambda: other.append(register(api, tom, robot).status))
    )
    assert register(api, lin, robot).status == 409
    assert other == [201]
    assert acts_for(api, robot)["user"]["id"] == {"subject": "tom"}


def with_another_signature(web: Web, token: str) -> str:
    """A token with the valid signature of another token."""
    other = token_of(web.bearer("other", client="other"))
    return ".".join((*token.split(".")[:2], other.split(".")[2]))


def invalid_tokens(web: Web) -> dict[str, str]:
    """Tokens that are not a service account's own current token, each for one reason."""
    valid = token_of(web.bearer("robot", client="robot"))
    now = int(time.time())
    return {
        "expired": token_of(web.bearer("robot", "robot", exp=now - 3600)),
        "untrusted_audience": token_of(web.bearer("robot", "robot", aud="another")),
        "untrusted_issuer": token_of(web.bearer("robot", "robot", iss="https://other.example")),
        "bad_signature": with_another_signature(web, valid),
        "malformed_token": "x",
        "token_of_a_person": token_of(web.bearer("robot", "web")),
        "callers_own": token_of(web.bearer("lin", "web")),
    }


@pytest.mark.parametrize(
    "invalid",
    [
        "expired",
        "untrusted_audience",
        "untrusted_issuer",
        "bad_signature",
        "malformed_token",
        "token_of_a_person",
        "callers_own",
    ],
)
def test_invalid_service_account_token_is_refused(
    api: RunsApi, lin: Credential, web: Web, dynamodb: DynamoDb, invalid: str
) -> None:
    """The answer is 422, not 401, which would be about the caller, and nothing is written."""
    token = invalid_tokens(web)[invalid]
    refused = api.call("POST", ACCOUNTS, by=lin, document={"token": token})
    assert (refused.status, refused.reason) == (422, "invalid_service_account_token")
    assert len(token) == 1 or token not in refused.body
    assert dynamodb.writes() == []


def test_application_with_the_persons_subject_is_registered_like_any_other(
    api: RunsApi, lin: Credential, web: Web, access_rows: AccessRows
) -> None:
    """The application `lin` acts for the person `lin` only after its registration."""
    namesake = web.bearer("lin", client="lin")
    assert acts_for(api, namesake) is None
    assert creation_status(api, namesake) == 404
    assert register(api, lin, namesake).status == 201
    assert acts_for(api, namesake) == LIN
    assert creation_status(api, namesake) == 201
    access_rows.revoke("project:editor", "lin")
    assert creation_status(api, namesake) == 404


def test_token_in_the_body_at_and_over_its_limit(api: RunsApi, lin: Credential) -> None:
    """A token of the longest length is checked, and a longer one is an invalid body."""
    for length, status in ((16_384, 422), (16_385, 400)):
        document = {"token": "x" * length}
        assert api.call("POST", ACCOUNTS, by=lin, document=document).status == status


def test_unreachable_issuer_is_503(
    start_api: Callable[..., RunsApi], web: Web, access_rows: AccessRows
) -> None:
    """Without the issuer's keys the token cannot be checked, and nothing is written."""
    api = start_api(PROJECT_ADMINS="lin, nobody-else")
    lin, robot = web.browser("lin"), web.bearer("robot", client="robot")
    assert api.call("GET", "/v1/whoami", by=lin).status == 200
    web.down = True
    try:
        answer = register(api, lin, robot)
    finally:
        web.down = False
    assert (answer.status, answer.reason) == (503, "keys_unavailable")
    assert access_rows.rows() == []


def test_application_cannot_register_a_service_account(
    api: RunsApi, nightly: Credential, robot: Credential, dynamodb: DynamoDb, lin: Credential
) -> None:
    """Only a person may register one, and an application is answered 403 even as an admin."""
    refused = register(api, nightly, robot)
    assert (refused.status, refused.reason) == (403, "forbidden")
    register(api, lin, robot)
    writes = len(dynamodb.writes())
    assert register(api, robot, nightly).status == 403
    assert len(dynamodb.writes()) == writes


def test_anonymous_caller_cannot_register_a_service_account(
    start_api: Callable[..., RunsApi], robot: Credential, access_rows: AccessRows
) -> None:
    """The answer is 403, even where anonymous callers are admins."""
    assert register(start_api(ANONYMOUS_CALLERS="allow"), NO_CREDENTIAL, robot).status == 403
    assert access_rows.rows() == []


@pytest.mark.parametrize(
    ("role", "status"), [(None, 404), ("project:viewer", 403), ("project:editor", 201)]
)
def test_registration_needs_the_editor_role(
    api: RunsApi,
    web: Web,
    robot: Credential,
    access_rows: AccessRows,
    role: str | None,
    status: int,
) -> None:
    """Registering is 404 without a role, 403 for a viewer and 201 for an editor."""
    if role:
        access_rows.grant(role, "eve")
    assert register(api, web.browser("eve"), robot).status == status


def test_caller_without_a_role_gets_one_answer_for_every_token(
    api: RunsApi, web: Web, robot: Credential, access_rows: AccessRows
) -> None:
    """The answer does not show whether the token is valid."""
    answers = {
        register(api, web.browser("eve"), account).body.split('"instance"')[0]
        for account in (robot, web.bearer("robot", "robot", exp=1))
    }
    assert len(answers) == 1


def test_unknown_role_is_refused(
    api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """A role that no policy names is answered 400, and nothing is written."""
    assert register(api, lin, robot, role="project:owner").reason == "invalid_body"
    assert dynamodb.writes() == []


def test_subject_in_the_body_is_refused(
    api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """The subject follows from the token, so a body that names one is answered 400."""
    assert register(api, lin, robot, subject="nightly").reason == "invalid_body"
    assert dynamodb.writes() == []


@pytest.mark.parametrize("name", ["nightly\u202e", "night\u200bly", " nightly"])
def test_name_with_an_invisible_character_is_refused(
    api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb, name: str
) -> None:
    """A service account cannot look like another one in a list."""
    assert register(api, lin, robot, name=name).reason == "invalid_body"
    assert dynamodb.writes() == []


def test_token_in_the_place_of_a_name_is_not_quoted(
    api: RunsApi, lin: Credential, robot: Credential
) -> None:
    """The detail is a fixed sentence, because clients log error answers."""
    token = token_of(robot)
    for document in ({token: ""}, {"token": token, token: ""}):
        answer = api.call("POST", ACCOUNTS, by=lin, document=document)
        assert answer.reason == "invalid_body"
        assert token[:20] not in answer.body


def test_printed_body_hides_the_token() -> None:
    """`repr` of a body does not contain the token."""
    assert "secret" not in repr(CreateServiceAccount(token="secret"))


def test_pages_contain_every_service_account_of_the_project_once(
    api: RunsApi, lin: Credential, web: Web, access_rows: AccessRows
) -> None:
    """The list contains no service account of another project."""
    access_rows.grant("project:editor", "lin", project="gemini")
    document = {"token": token_of(web.bearer("other", "other"))}
    api.call("POST", "/v1/projects/gemini/service-accounts", by=lin, document=document)
    registered = {
        register(api, lin, web.bearer(f"robot-{number}", f"robot-{number}")).json["id"]
        for number in range(3)
    }
    found: list[str] = []
    query = {"limit": "2"}
    while True:
        page = api.call("GET", ACCOUNTS, by=lin, query=query).json
        found += [account["id"] for account in page["service_accounts"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == sorted(registered)


def test_list_needs_the_viewer_role(api: RunsApi, web: Web, access_rows: AccessRows) -> None:
    """The list is 404 without a role, and 200 for a viewer."""
    assert api.call("GET", ACCOUNTS, by=web.browser("eve")).status == 404
    access_rows.grant("project:viewer", "eve")
    assert api.call("GET", ACCOUNTS, by=web.browser("eve")).json["service_accounts"] == []


def test_person_reads_and_deletes_its_service_account_without_a_role(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """The person that a service account acts for needs no role to delete it."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    access_rows.revoke("project:editor", "lin")
    assert api.call("GET", path, by=lin).status == 200
    assert api.call("DELETE", path, by=lin).status == 204


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_invisible_service_account_is_answered_like_a_missing_one(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    web: Web,
    dynamodb: DynamoDb,
    method: str,
) -> None:
    """The answer and the reads are the same whether the service account exists or not."""
    existing = register(api, lin, robot).json["id"]
    answers = []
    for account_id in (existing, "a" * 26):
        dynamodb.calls.clear()
        answer = api.call(method, f"{ACCOUNTS}/{account_id}", by=web.browser("eve"))
        document = {**answer.json, "instance": ""}
        answers.append((answer.status, document, [call.operation for call in dynamodb.calls]))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


@pytest.mark.parametrize(
    ("subject", "status"), [("tom", 403), ("eve", 404), ("lin", 204), ("grace", 204)]
)
def test_deletion_is_permitted_to_its_person_and_admins(
    api: RunsApi,
    lin: Credential,
    tom: Credential,
    robot: Credential,
    web: Web,
    subject: str,
    status: int,
) -> None:
    """Another editor is answered 403, and a caller without a role 404."""
    del tom
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    assert api.call("DELETE", path, by=web.browser(subject)).status == status
    assert (acts_for(api, robot) is None) == (status == 204)


def test_deleted_service_account_has_no_role_and_acts_for_no_person(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """Both rows are gone from the next request on, and it can be registered again."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    assert creation_status(api, robot) == 201
    assert api.call("DELETE", path, by=lin).status == 204
    assert acts_for(api, robot) is None
    assert creation_status(api, robot) == 404
    assert not [row for row in access_rows.rows() if "acts-for" in row["entry"]["S"]]
    assert api.call("GET", path, by=lin).status == 404
    assert api.call("DELETE", path, by=lin).status == 404
    assert len(access_rows.records("delete_service_account")) == 1
    assert register(api, lin, robot).status == 201


def test_deletion_keeps_a_concurrent_registration_of_another_person(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """A deletion permitted for one's own service account does not delete another person's."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"

    def register_for_another_person() -> None:
        assert api.call("DELETE", path, by=lin).status == 204
        assert register(api, tom, robot).status == 201

    dynamodb.faults.append(Meanwhile("TransactWriteItems", register_for_another_person))
    assert api.call("DELETE", path, by=lin).status == 403
    assert acts_for(api, robot)["user"]["id"] == {"subject": "tom"}


def test_service_account_loses_the_role_that_its_person_loses(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """A role that is revoked from the person is lost to the service account at its next request."""
    register(api, lin, robot)
    assert creation_status(api, robot) == 201
    access_rows.revoke("project:editor", "lin")
    assert creation_status(api, robot) == 404
    access_rows.grant("project:viewer", "lin")
    assert creation_status(api, robot) == 403


def test_service_account_of_an_admin_is_limited_to_its_role(
    api: RunsApi, robot: Credential, web: Web, access_rows: AccessRows
) -> None:
    """An admin's service account with the viewer role may only view."""
    access_rows.grant("project:admin", "lin")
    register(api, web.browser("lin"), robot, role="project:viewer")
    assert api.call("GET", f"{PROJECT}/runs", by=robot).status == 200
    assert creation_status(api, robot) == 403


def test_service_account_is_limited_to_the_role_of_its_person(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """An editor's service account may only edit, even with the admin role of its own."""
    register(api, lin, robot, role="project:admin")
    access_rows.grant("project:admin", "robot", kind="application")
    assert creation_status(api, robot) == 201
    binding = {"role": "project:viewer", "subject": "eve"}
    assert api.call("PUT", f"{PROJECT}/role-bindings", by=robot, document=binding).status == 403


def test_role_of_a_service_account_counts_in_its_project_alone(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """Its person's role in another project permits the service account nothing there."""
    access_rows.grant("project:admin", "lin", project="gemini")
    register(api, lin, robot)
    assert api.call("GET", "/v1/projects/gemini/runs", by=lin).status == 200
    assert api.call("GET", "/v1/projects/gemini/runs", by=robot).status == 404


def test_person_with_the_subject_of_a_service_account_acts_for_no_person(
    api: RunsApi, lin: Credential, robot: Credential, web: Web
) -> None:
    """The kind is part of a principal: the person `robot` is not the application `robot`."""
    register(api, lin, robot)
    assert acts_for(api, web.bearer("robot", client="web")) is None


def test_registration_from_another_site_is_refused(
    api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """A page of another site that knows a token cannot register it for its visitor."""
    answer = api.call(
        "POST",
        ACCOUNTS,
        by=lin,
        headers=(("sec-fetch-site", "cross-site"),),
        document={"token": token_of(robot)},
    )
    assert answer.reason == "cross_site_request"
    assert dynamodb.writes() == []


def test_service_account_token_is_verified_where_callers_are_not(
    start_api: Callable[..., RunsApi], web: Web, access_rows: AccessRows
) -> None:
    """`IDENTITY_TRUST=forwarded` applies to callers and not to the token in the body."""
    api = start_api(IDENTITY_TRUST="forwarded")
    token = token_of(web.bearer("robot", "robot"))
    document = {"token": with_another_signature(web, token)}
    answer = api.call("POST", ACCOUNTS, by=web.browser("ada"), document=document)
    assert answer.reason == "invalid_service_account_token"
    assert "bad_signature" in answer.json["detail"]
    assert access_rows.rows() == []


def test_account_is_found_by_its_person_in_one_row(
    api: RunsApi, ada: Credential, robot: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """Of its two rows, only the one in the project is in the index of what a person holds."""
    register(api, ada, robot)
    found = dynamodb.client.scan(TableName=ACCESS_TABLE, IndexName=HOLDER_INDEX)["Items"]
    held = [row["entry"]["S"] for row in found if row["holder"]["S"] == f"user:{web.url}#ada"]
    assert [entry.partition("#")[0] for entry in held] == ["service-account"]
