"""`GET …/access` says what somebody may do in a project, and by which binding."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.access.model import ROLES
from tests.runs.access_rows import AccessRows, creation_status, register
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import DynamoDb

ACCESS = "/v1/projects/apollo/access"
BINDINGS = "/v1/projects/apollo/role-bindings"


@pytest.fixture
def api(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Only Ada administers every project."""
    return start_api(PROJECT_ADMINS="ada")


@pytest.fixture
def rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


def show(api: RunsApi, by: Credential, principal: str = "") -> Answer:
    """What a principal may do, by default the caller."""
    query = {"principal": principal} if principal else {}
    return api.call("GET", ACCESS, by=by, query=query)


def origins(answer: Any) -> list[tuple[str, str]]:
    """The bindings of an answer: by what, and which role."""
    return [(each["by"], each["role"]) for each in answer["bindings"]]


def test_bindings_and_permissions_of_a_person_are_shown(
    api: RunsApi, ada: Credential, rows: AccessRows, web: Web
) -> None:
    """Each role has its permissions, and together they are what the person may do."""
    rows.grant("project:viewer", "mary")
    rows.grant("credential:reader", "mary")
    answer = show(api, ada, f"user:{web.url}#mary")
    assert answer.status == 200
    assert (answer.json["kind"], answer.json["subject"]) == ("user", "mary")
    assert origins(answer.json) == [
        ("role_binding", "credential:reader"),
        ("role_binding", "project:viewer"),
    ]
    assert {each["role"]: set(each["permits"]) for each in answer.json["bindings"]} == {
        role: ROLES[role] for role in ("project:viewer", "credential:reader")
    }
    expected = ROLES["project:viewer"] | ROLES["credential:reader"]
    assert set(answer.json["permissions"]) == expected


def test_caller_may_ask_about_itself(api: RunsApi, rows: AccessRows, web: Web) -> None:
    """A viewer sees its own rights, by `me`, by its principal, and without a parameter."""
    rows.grant("project:viewer", "mary")
    mary = web.browser("mary")
    answers = [show(api, mary, name).json for name in ("", "me", f"user:{web.url}#mary")]
    assert answers[0] == answers[1] == answers[2]
    assert origins(answers[0]) == [("role_binding", "project:viewer")]


@pytest.mark.parametrize(
    ("role", "status"), [("", 404), ("credential:reader", 404), ("project:editor", 403)]
)
@pytest.mark.parametrize(
    "other", ["user:{}#ada", "user:{}#nobody", "application:{}#mary", "ada@example.com", "x"]
)
def test_others_than_admins_do_not_see_the_rights_of_others(
    api: RunsApi, ada: Credential, rows: AccessRows, web: Web, role: str, status: int, other: str
) -> None:
    """The answer does not depend on whom it is about."""
    rows.grant("project:editor", "ada")
    if role:
        rows.grant(role, "mary")
    show(api, ada)
    answer = show(api, web.browser("mary"), other.format(web.url))
    assert answer.status == status
    assert answer.json.get("permission") == ("read_access" if status == 403 else None)
    assert "bindings" not in answer.json


def test_answer_about_oneself_does_not_show_whether_a_project_exists(
    api: RunsApi, ada: Credential, web: Web
) -> None:
    """A caller without a role gets the same for an invisible project and for a missing one."""
    api.create(ada)
    eve = web.browser("eve")
    invisible, missing = (
        api.call("GET", f"/v1/projects/{project}/access", by=eve) for project in ("apollo", "none")
    )
    assert (invisible.status, invisible.json) == (missing.status, missing.json)
    assert (invisible.json["bindings"], invisible.json["permissions"]) == ([], [])


def test_admin_of_every_project_is_shown_as_one(
    api: RunsApi, ada: Credential, rows: AccessRows
) -> None:
    """A setting and a role binding are two bindings."""
    rows.grant("credential:token-reader", "ada")
    answer = show(api, ada).json
    assert origins(answer) == [
        ("project_admins", "project:admin"),
        ("role_binding", "credential:token-reader"),
    ]
    expected = ROLES["project:admin"] | ROLES["credential:token-reader"]
    assert set(answer["permissions"]) == expected


def test_admin_by_the_first_run_is_shown_as_one_until_the_role_is_revoked(
    start_api: Callable[..., RunsApi], ada: Credential, grace: Credential
) -> None:
    """A role that is granted later is a role binding."""
    api = start_api(PROJECT_ADMINS="ada", PROJECT_CREATION="anyone")
    api.create(grace)
    assert origins(show(api, grace).json) == [("project_claim", "project:admin")]
    role = {"role": "project:admin", "subject": "grace"}
    other = {"role": "project:admin", "subject": "mary"}
    assert api.call("PUT", BINDINGS, by=ada, document=other).status == 201
    assert api.call("DELETE", BINDINGS, by=ada, query=role).status == 204
    assert api.call("PUT", BINDINGS, by=ada, document=role).status == 201
    assert origins(show(api, grace).json) == [("role_binding", "project:admin")]


def test_service_account_is_shown_with_the_person_that_limits_it(
    api: RunsApi, ada: Credential, rows: AccessRows, web: Web
) -> None:
    """It may do what its registration and its person's roles both permit."""
    rows.grant("project:editor", "mary")
    robot = web.bearer("robot", "robot")
    assert register(api, web.browser("mary"), robot).status == 201
    name = f"application:{web.url}#robot"
    answer = show(api, ada, name).json
    assert origins(answer) == [("registration", "project:editor")]
    assert (answer["acts_for"]["subject"], origins(answer["acts_for"])) == (
        "mary",
        [("role_binding", "project:editor")],
    )
    assert "create_run" in answer["permissions"]
    assert show(api, robot).json["permissions"] == answer["permissions"]
    rows.revoke("project:editor", "mary")
    answer = show(api, ada, name).json
    assert (answer["permissions"], answer["acts_for"]["bindings"]) == ([], [])
    assert creation_status(api, robot) == 404


def test_agent_of_a_delegated_token_sees_its_person(
    api: RunsApi, rows: AccessRows, web: Web
) -> None:
    """The person is the one of the token that asks."""
    rows.allow("planner", "project:editor")
    rows.grant("project:viewer", "mary")
    answer = show(api, web.bearer("mary", act={"sub": "planner"})).json
    assert (answer["kind"], answer["subject"]) == ("application", "planner")
    assert answer["acts_for"]["subject"] == "mary"
    assert set(answer["permissions"]) == ROLES["project:viewer"]
    assert [(each["by"], each["role"]) for each in answer["bindings"]] == [
        ("agent", "project:editor")
    ]


def test_agent_without_permission_learns_nothing_of_its_person(
    api: RunsApi, rows: AccessRows, web: Web
) -> None:
    """Neither which roles the person has in the project, nor which it has by itself there."""
    rows.grant("project:admin", "mary")
    rows.grant("project:editor", "planner", kind="application")
    answer = show(api, web.bearer("mary", act={"sub": "planner"})).json
    assert (answer["bindings"], answer["acts_for"], answer["permissions"]) == ([], None, [])


def test_person_is_found_by_email_address(api: RunsApi, ada: Credential, web: Web) -> None:
    """An admin asks by a verified address, as when granting a role."""
    mary = web.browser("mary-7", email="mary.7@example.com", email_verified=True)
    api.call("GET", "/v1/whoami", by=mary)
    assert show(api, ada, "mary.7@example.com").json["subject"] == "mary-7"
    assert show(api, ada, "mary.8@example.com").reason == "unknown_email"


@pytest.mark.parametrize("principal", ["x", "user:x", "unknown:https://a.example#x", "a" * 841])
def test_invalid_principal_is_refused(api: RunsApi, ada: Credential, principal: str) -> None:
    """The answer says how a principal is written."""
    answer = show(api, ada, principal)
    assert (answer.status, answer.reason) == (400, "invalid_parameter")
