"""Service accounts: which application acts for whom, proven by its own token and taken back."""

import time
from collections.abc import Callable

import pytest

from serve_runs.service_accounts.requests import CreateServiceAccount
from tests.runs.access_rows import (
    ACCOUNTS,
    PROJECT,
    AccessRows,
    acts_for,
    created,
    register,
    token_of,
)
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb, Meanwhile

LIN = {
    "user": {
        "id": {"subject": "lin"},
        "spec": {"firstName": "Lin", "lastName": "Lee", "email": "lin@example.com"},
    }
}


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    return AccessRows(dynamodb, web)


@pytest.fixture
def lin(web: Web, access_rows: AccessRows) -> Credential:
    """A person who edits the project and no other."""
    access_rows.grant("project:editor", "lin")
    return web.browser("lin", given_name="Lin", family_name="Lee", email="lin@example.com")


@pytest.fixture
def tom(web: Web, access_rows: AccessRows) -> Credential:
    """Another one."""
    access_rows.grant("project:editor", "tom")
    return web.browser("tom")


@pytest.fixture
def robot(web: Web) -> Credential:
    """A service account without any right of its own."""
    return web.bearer("robot", client="robot")


def test_person_registers_a_service_account_by_its_token(
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
    """Idempotent: 200, the same answer, and not a single write."""
    first = register(api, lin, robot)
    writes = len(dynamodb.writes())
    again = register(api, lin, robot)
    assert (again.status, again.json) == (200, first.json)
    assert len(dynamodb.writes()) == writes


def test_same_person_changes_role_and_name(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """200, in both rows and with a record of its own; the id and when it began stay."""
    first = register(api, lin, robot).json
    changed = register(api, lin, robot, role="project:viewer", name="reader")
    assert changed.status == 200
    assert changed.json["role"] == "project:viewer"
    assert changed.json["name"] == "reader"
    assert (changed.json["id"], changed.json["created_at"]) == (first["id"], first["created_at"])
    assert api.call("GET", f"{ACCOUNTS}/{first['id']}", by=lin).json == changed.json
    assert created(api, robot) == 403
    assert len(access_rows.records("create_service_account")) == 2


def test_somebody_elses_service_account_is_refused_without_a_name(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """409: it acts for one person, and who that is, is not the asker's business."""
    register(api, lin, robot)
    writes = len(dynamodb.writes())
    refused = register(api, tom, robot)
    assert (refused.status, refused.reason) == (409, "already_registered")
    assert "lin" not in refused.json["detail"]
    assert len(dynamodb.writes()) == writes
    assert acts_for(api, robot) == LIN


def test_service_account_of_another_project_is_refused(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """409, for its own person too: it acts in one project."""
    register(api, lin, robot)
    access_rows.grant("project:editor", "lin", project="gemini")
    document = {"token": token_of(robot)}
    route = "/v1/projects/gemini/service-accounts"
    assert api.call("POST", route, by=lin, document=document).reason == "already_registered"


def test_who_comes_second_in_a_race_is_refused(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """The database decides: between one person's look and their write, another one registers."""
    other: list[int] = []
    dynamodb.faults.append(
        Meanwhile("TransactWriteItems", lambda: other.append(register(api, tom, robot).status))
    )
    assert register(api, lin, robot).status == 409
    assert other == [201]
    assert acts_for(api, robot)["user"]["id"] == {"subject": "tom"}


def with_signature_of_another(web: Web, token: str) -> str:
    """What is signed is this token, and the signature is a good one of something else."""
    other = token_of(web.bearer("other", client="other"))
    return ".".join((*token.split(".")[:2], other.split(".")[2]))


def spoiled_tokens(web: Web) -> dict[str, str]:
    """What is not a service account's own current token, each spoiled in one thing."""
    valid = token_of(web.bearer("robot", client="robot"))
    now = int(time.time())
    return {
        "expired": token_of(web.bearer("robot", "robot", exp=now - 3600)),
        "untrusted_audience": token_of(web.bearer("robot", "robot", aud="another")),
        "untrusted_issuer": token_of(web.bearer("robot", "robot", iss="https://other.example")),
        "bad_signature": with_signature_of_another(web, valid),
        "malformed_token": "x",
        "token_of_a_person": token_of(web.bearer("robot", "web")),
        "callers_own": token_of(web.bearer("lin", "web")),
    }


@pytest.mark.parametrize(
    "spoiled",
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
def test_anything_but_a_service_accounts_own_current_token_is_refused(
    api: RunsApi, lin: Credential, web: Web, dynamodb: DynamoDb, spoiled: str
) -> None:
    """422, never 401, which would be about the caller; and nothing is written."""
    token = spoiled_tokens(web)[spoiled]
    refused = api.call("POST", ACCOUNTS, by=lin, document={"token": token})
    assert (refused.status, refused.reason) == (422, "invalid_service_account_token")
    assert len(token) == 1 or token not in refused.body
    assert dynamodb.writes() == []


def test_namesake_is_somebody_else(
    api: RunsApi, lin: Credential, web: Web, access_rows: AccessRows
) -> None:
    """A client called `lin` is not the person `lin`: it acts for them once they say so, as any
    other does, and not for the name that it has."""
    namesake = web.bearer("lin", client="lin")
    assert acts_for(api, namesake) is None
    assert created(api, namesake) == 404
    assert register(api, lin, namesake).status == 201
    assert acts_for(api, namesake) == LIN
    assert created(api, namesake) == 201
    access_rows.revoke("project:editor", "lin")
    assert created(api, namesake) == 404


def test_token_in_the_body_may_be_as_long_as_a_token_may_be(api: RunsApi, lin: Credential) -> None:
    """The boundary, in a pair: what is too long for a token is refused by the shape."""
    for length, status in ((16_384, 422), (16_385, 400)):
        document = {"token": "x" * length}
        assert api.call("POST", ACCOUNTS, by=lin, document=document).status == status


def test_unreachable_issuer_is_no_refusal(
    start_api: Callable[..., RunsApi], web: Web, access_rows: AccessRows
) -> None:
    """503 while its keys cannot be had: nothing can be said of the token, nothing is written."""
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


def test_service_accounts_have_no_service_accounts(
    api: RunsApi, nightly: Credential, robot: Credential, dynamodb: DynamoDb, lin: Credential
) -> None:
    """Only people: an administrator that is an application is refused, and so is nobody."""
    refused = register(api, nightly, robot)
    assert (refused.status, refused.reason) == (403, "forbidden")
    register(api, lin, robot)
    writes = len(dynamodb.writes())
    assert register(api, robot, nightly).status == 403
    assert len(dynamodb.writes()) == writes


def test_nobody_has_no_service_accounts(
    start_api: Callable[..., RunsApi], robot: Credential, access_rows: AccessRows
) -> None:
    """Where nobody may call, and administers, it is still nobody: 403."""
    assert register(start_api(ANONYMOUS_CALLERS="allow"), NO_CREDENTIAL, robot).status == 403
    assert access_rows.rows() == []


@pytest.mark.parametrize(
    ("role", "status"), [(None, 404), ("project:viewer", 403), ("project:editor", 201)]
)
def test_registering_takes_an_editor(
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


def test_stranger_learns_nothing_of_the_token(
    api: RunsApi, web: Web, robot: Credential, access_rows: AccessRows
) -> None:
    """Whether a token is good is told to nobody who may not use the answer."""
    answers = {
        register(api, web.browser("eve"), account).body.split('"instance"')[0]
        for account in (robot, web.bearer("robot", "robot", exp=1))
    }
    assert len(answers) == 1


def test_unknown_role_is_refused(
    api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """400: a role is one of those that policies know."""
    assert register(api, lin, robot, role="project:owner").reason == "invalid_body"
    assert dynamodb.writes() == []


def test_subject_is_never_typed(
    api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """A body that names a subject is refused, whatever token is beside it."""
    assert register(api, lin, robot, subject="nightly").reason == "invalid_body"
    assert dynamodb.writes() == []


def test_token_in_the_place_of_a_name_is_not_told(
    api: RunsApi, lin: Credential, robot: Credential
) -> None:
    """400 in words of ours: errors are kept in places where tokens must not be."""
    token = token_of(robot)
    for document in ({token: ""}, {"token": token, token: ""}):
        answer = api.call("POST", ACCOUNTS, by=lin, document=document)
        assert answer.reason == "invalid_body"
        assert token[:20] not in answer.body


def test_token_is_not_in_the_representation() -> None:
    """A body that gets into a log or a traceback tells no token."""
    assert "secret" not in repr(CreateServiceAccount(token="secret"))


def test_listing_goes_page_by_page_through_one_project(
    api: RunsApi, lin: Credential, web: Web, access_rows: AccessRows
) -> None:
    """Every service account of the project once, and none of another one's."""
    access_rows.grant("project:editor", "lin", project="gemini")
    document = {"token": token_of(web.bearer("other", "other"))}
    api.call("POST", "/v1/projects/gemini/service-accounts", by=lin, document=document)
    made = {
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
    assert found == sorted(made)


def test_listing_takes_a_viewer(api: RunsApi, web: Web, access_rows: AccessRows) -> None:
    """Who may not see the project finds nothing there."""
    assert api.call("GET", ACCOUNTS, by=web.browser("eve")).status == 404
    access_rows.grant("project:viewer", "eve")
    assert api.call("GET", ACCOUNTS, by=web.browser("eve")).json["service_accounts"] == []


def test_who_registered_it_sees_and_ends_it_without_any_role(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """Taking back what acts in one's name needs no right but that."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    access_rows.revoke("project:editor", "lin")
    assert api.call("GET", path, by=lin).status == 200
    assert api.call("DELETE", path, by=lin).status == 204


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_stranger_cannot_tell_what_is_there(
    api: RunsApi,
    lin: Credential,
    robot: Credential,
    web: Web,
    dynamodb: DynamoDb,
    method: str,
) -> None:
    """The answer and the reads are the same whether the service account exists or not."""
    there = register(api, lin, robot).json["id"]
    seen = []
    for account_id in (there, "a" * 26):
        dynamodb.calls.clear()
        answer = api.call(method, f"{ACCOUNTS}/{account_id}", by=web.browser("eve"))
        document = {**answer.json, "instance": ""}
        seen.append((answer.status, document, [call.operation for call in dynamodb.calls]))
    assert seen[0] == seen[1]
    assert seen[0][0] == 404


@pytest.mark.parametrize(
    ("subject", "status"), [("tom", 403), ("eve", 404), ("lin", 204), ("grace", 204)]
)
def test_deleting_takes_its_person_or_an_admin(
    api: RunsApi,
    lin: Credential,
    tom: Credential,
    robot: Credential,
    web: Web,
    subject: str,
    status: int,
) -> None:
    """Another editor sees it and may not; a stranger finds nothing."""
    del tom
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    assert api.call("DELETE", path, by=web.browser(subject)).status == status
    assert (acts_for(api, robot) is None) == (status == 204)


def test_deleted_service_account_has_no_role_and_acts_for_nobody(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """From the next request on; both rows are gone, the record is there, and it can come again."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    assert created(api, robot) == 201
    assert api.call("DELETE", path, by=lin).status == 204
    assert acts_for(api, robot) is None
    assert created(api, robot) == 404
    assert not [row for row in access_rows.rows() if "acts-for" in row["entry"]["S"]]
    assert api.call("GET", path, by=lin).status == 404
    assert api.call("DELETE", path, by=lin).status == 404
    assert len(access_rows.records("delete_service_account")) == 1
    assert register(api, lin, robot).status == 201


def test_deleting_leaves_somebody_elses_that_came_meanwhile(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """What was permitted was to end one's own: not what another person registered since."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"

    def change_hands() -> None:
        assert api.call("DELETE", path, by=lin).status == 204
        assert register(api, tom, robot).status == 201

    dynamodb.faults.append(Meanwhile("TransactWriteItems", change_hands))
    assert api.call("DELETE", path, by=lin).status == 403
    assert acts_for(api, robot)["user"]["id"] == {"subject": "tom"}


def test_rights_end_with_the_persons(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """A role that is revoked from the person is lost to the service account at its next request."""
    register(api, lin, robot)
    assert created(api, robot) == 201
    access_rows.revoke("project:editor", "lin")
    assert created(api, robot) == 404
    access_rows.grant("project:viewer", "lin")
    assert created(api, robot) == 403


def test_rights_are_no_more_than_its_role(
    api: RunsApi, robot: Credential, web: Web, access_rows: AccessRows
) -> None:
    """An admin's service account with the viewer role may only view."""
    access_rows.grant("project:admin", "lin")
    register(api, web.browser("lin"), robot, role="project:viewer")
    assert api.call("GET", f"{PROJECT}/runs", by=robot).status == 200
    assert created(api, robot) == 403


def test_rights_are_no_more_than_the_persons(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """An editor's service account may only edit, even with the admin role of its own."""
    register(api, lin, robot, role="project:admin")
    access_rows.grant("project:admin", "robot", kind="application")
    assert created(api, robot) == 201
    binding = {"role": "project:viewer", "subject": "eve"}
    assert api.call("PUT", f"{PROJECT}/role-bindings", by=robot, document=binding).status == 403


def test_role_is_for_its_project_alone(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """Where its person may do more, a service account without a role there may nothing."""
    access_rows.grant("project:admin", "lin", project="gemini")
    register(api, lin, robot)
    assert api.call("GET", "/v1/projects/gemini/runs", by=lin).status == 200
    assert api.call("GET", "/v1/projects/gemini/runs", by=robot).status == 404


def test_person_and_application_of_one_subject_are_two(
    api: RunsApi, lin: Credential, robot: Credential, web: Web
) -> None:
    """The kind is part of who it is: a person called `robot` acts for nobody."""
    register(api, lin, robot)
    assert acts_for(api, web.bearer("robot", client="web")) is None


def test_other_sites_page_registers_nothing(
    api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb
) -> None:
    """403: a page that knows some token cannot make its visitor answer for it."""
    answer = api.call(
        "POST",
        ACCOUNTS,
        by=lin,
        headers=(("sec-fetch-site", "cross-site"),),
        document={"token": token_of(robot)},
    )
    assert answer.reason == "cross_site_request"
    assert dynamodb.writes() == []


def test_signature_of_the_body_is_checked_where_callers_are_not(
    start_api: Callable[..., RunsApi], web: Web, access_rows: AccessRows
) -> None:
    """`forwarded` believes callers; what is written outlives that, and is proven all the same."""
    api = start_api(IDENTITY_TRUST="forwarded")
    token = token_of(web.bearer("robot", "robot"))
    document = {"token": with_signature_of_another(web, token)}
    answer = api.call("POST", ACCOUNTS, by=web.browser("ada"), document=document)
    assert answer.reason == "invalid_service_account_token"
    assert "bad_signature" in answer.json["detail"]
    assert access_rows.rows() == []
