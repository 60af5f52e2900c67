"""The caller's projects, and what a project shows to whom."""

from collections.abc import Callable
from typing import Any

import pytest

from byline.identity.caller import Principal
from serve_runs.access.control import acts_for_key
from tests.runs.access_rows import AccessRows, register
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, Refusal
from tests.runs.test_people import BACKFILLING, grant, index

PROJECTS = "/v1/projects"


@pytest.fixture
def strict(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Only Ada administers every project, and only she starts one."""
    return start_api(PROJECT_ADMINS="ada")


@pytest.fixture
def open_api(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Whoever creates the first run of a project becomes its admin; Ada administers all."""
    return start_api(PROJECT_ADMINS="ada", PROJECT_CREATION="anyone")


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


def project(name: str, *roles: str, **changes: Any) -> dict[str, Any]:
    """A project as the API shows it to a caller with these roles."""
    unknown = {"created_at": None, "created_by": None, "deleted_at": None, "project_admin": False}
    return {"name": name, "roles": list(roles), **unknown, **changes}


def list_projects(api: RunsApi, by: Credential, **query: str) -> Answer:
    """The first page of the caller's projects."""
    return api.call("GET", PROJECTS, by=by, query=query)


def names(api: RunsApi, by: Credential) -> set[str]:
    """The names of the caller's projects."""
    return {each["name"] for each in list_projects(api, by).json["projects"]}


def show(api: RunsApi, by: Credential, name: str) -> Answer:
    """A project."""
    return api.call("GET", f"{PROJECTS}/{name}", by=by)


class TestList:
    """The projects in which a caller has roles."""

    def test_person_gets_each_project_with_its_roles(
        self, strict: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """Neither projects of others nor those whose roles were revoked are in the list."""
        grant(strict, ada, "apollo", "grace", "project:editor", "credential:reader")
        grant(strict, ada, "gemini", "grace", "runner:token-reader")
        grant(strict, ada, "mercury", "margaret", "project:admin")
        grant(strict, ada, "vostok", "grace", "project:viewer")
        revoked = {"role": "project:viewer", "subject": "grace"}
        path = f"{PROJECTS}/vostok/role-bindings"
        assert strict.call("DELETE", path, by=ada, query=revoked).status == 204
        answer = list_projects(strict, grace)
        assert answer.status == 200
        found = sorted(answer.json["projects"], key=lambda each: str(each["name"]))
        assert found == [
            project("apollo", "credential:reader", "project:editor"),
            project("gemini", "runner:token-reader"),
        ]
        assert answer.json["all_projects"] is False
        assert answer.json["next_cursor"] is None

    def test_admin_of_all_projects_is_told_that_the_list_is_of_roles_only(
        self, strict: RunsApi, ada: Credential
    ) -> None:
        """The setting gives rights everywhere, and no list of all projects exists."""
        grant(strict, ada, "apollo", "grace", "project:viewer")
        assert list_projects(strict, ada).json["projects"] == []
        grant(strict, ada, "apollo", "ada", "project:viewer")
        answer = list_projects(strict, ada).json
        assert answer["projects"] == [project("apollo", "project:viewer", project_admin=True)]
        assert answer["all_projects"] is True

    def test_pages_have_each_project_once(
        self, strict: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """A cursor goes on where the page before ended."""
        wanted = [f"project-{number}" for number in range(7)]
        for name in wanted:
            grant(strict, ada, name, "grace", "project:viewer")
        found: list[str] = []
        cursor: dict[str, str] = {}
        for _ in range(4):
            page = list_projects(strict, grace, limit="2", **cursor).json
            found += [each["name"] for each in page["projects"]]
            cursor = {"cursor": page["next_cursor"]}
        assert page["next_cursor"] is None
        assert sorted(found) == wanted

    def test_list_is_read_by_keys_alone(
        self, strict: RunsApi, ada: Credential, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """One query of the index, and three reads of rows by key, whatever the table holds."""
        grant(strict, ada, "apollo", "grace", "project:viewer")
        dynamodb.calls.clear()
        assert names(strict, grace) == {"apollo"}
        operations = [call.operation for call in dynamodb.calls]
        assert operations == ["Query", *["BatchGetItem"] * 3, "GetItem"]

    def test_service_account_gets_projects_of_registrations_and_of_its_own_roles(
        self,
        strict: RunsApi,
        ada: Credential,
        grace: Credential,
        nightly: Credential,
    ) -> None:
        """A project with both is listed once, and none where its person has no right any more."""
        for name in ("apollo", "gemini"):
            grant(strict, ada, name, "grace", "project:editor")
        assert register(strict, grace, nightly).status == 201
        own = {"role": "credential:reader", "subject": "nightly", "kind": "application"}
        for name in ("apollo", "mercury"):
            path = f"{PROJECTS}/{name}/role-bindings"
            assert strict.call("PUT", path, by=ada, document=own).status == 201
        found = {each["name"]: each["roles"] for each in _all(strict, nightly)}
        assert found == {
            "apollo": ["credential:reader", "project:editor"],
            "mercury": ["credential:reader"],
        }
        path = f"{PROJECTS}/apollo/role-bindings"
        lost = {"role": "project:editor", "subject": "grace"}
        assert strict.call("DELETE", path, by=ada, query=lost).status == 204
        assert names(strict, nightly) == {"mercury"}

    def test_registration_of_an_earlier_version_counts(
        self, strict: RunsApi, ada: Credential, nightly: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """Its key has no project, its row has."""
        grant(strict, ada, "apollo", "grace", "project:editor")
        account = Principal("application", web.url, "nightly")
        key = acts_for_key(account, "")
        row = {
            **key,
            "entry": {"S": "acts-for"},
            "project": {"S": "apollo"},
            "person": {"S": f"user:{web.url}#grace"},
            "identity": {"S": '{"user":{"id":{"subject":"grace"},"spec":{}}}'},
            "role": {"S": "project:editor"},
        }
        dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=row)
        assert list_projects(strict, nightly).json["projects"] == [
            project("apollo", "project:editor")
        ]

    def test_agent_with_the_token_of_a_person_gets_the_projects_that_allow_it(
        self,
        start_api: Callable[..., RunsApi],
        ada: Credential,
        web: Web,
        access_rows: AccessRows,
    ) -> None:
        """The person must have roles too. Its own roles and `ProjectAdmins` do not count."""
        api = start_api(PROJECT_ADMINS="ada,application:helper")
        access_rows.allow("helper", project="apollo")
        access_rows.allow("helper", project="gemini")
        access_rows.grant("project:viewer", "grace")
        own = {"role": "project:admin", "subject": "helper", "kind": "application"}
        path = f"{PROJECTS}/mercury/role-bindings"
        assert api.call("PUT", path, by=ada, document=own).status == 201
        token = web.bearer("grace", client="helper", act={"sub": "helper", "client_id": "helper"})
        answer = list_projects(api, token).json
        assert answer["projects"] == [project("apollo", "project:editor")]
        assert answer["all_projects"] is False

    def test_complete_says_whether_rows_of_earlier_versions_are_found(
        self, strict: RunsApi, grace: Credential, access_rows: AccessRows, dynamodb: DynamoDb
    ) -> None:
        """A role that an earlier version wrote is in the list after the command of the upgrade."""
        access_rows.grant("project:viewer", "grace")
        before = list_projects(strict, grace).json
        assert (before["projects"], before["complete"]) == ([], False)
        index(dynamodb)
        after = list_projects(strict, grace).json
        assert after["projects"] == [project("apollo", "project:viewer")]
        assert after["complete"] is True

    def test_cursor_of_another_list_is_refused(
        self, strict: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """Neither another caller's cursor nor that of a person's list is accepted."""
        for name in ("apollo", "gemini"):
            for subject in ("ada", "grace"):
                grant(strict, ada, name, subject, "project:viewer")
        other = list_projects(strict, ada, limit="1").json["next_cursor"]
        person = strict.call("GET", "/v1/people/me", by=grace, query={"limit": "1"}).json
        for cursor in (other, person["next_cursor"], "x"):
            answer = list_projects(strict, grace, cursor=cursor)
            assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_list_answers_503_while_the_index_is_filled(
        self, strict: RunsApi, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """The wait after an upgrade is no empty list."""
        members = {"message": BACKFILLING}
        dynamodb.faults.append(Refusal("Query", "ValidationException", members=members))
        answer = list_projects(strict, grace)
        assert (answer.status, answer.reason) == (503, "store_unavailable")

    def test_caller_without_a_credential_is_refused(self, strict: RunsApi) -> None:
        """Where anonymous callers are not allowed, they have no list."""
        assert list_projects(strict, NO_CREDENTIAL).reason == "no_credentials"


class TestShow:
    """What is known of a project."""

    def test_project_shows_its_creator_and_the_callers_roles(
        self, open_api: RunsApi, ada: Credential, grace: Credential, web: Web
    ) -> None:
        """The creator of the first run created the project."""
        open_api.create(grace, "skunkworks")
        shown = show(open_api, grace, "skunkworks")
        assert shown.status == 200
        created_by = shown.json["created_by"]
        assert (created_by["subject"], created_by["name"]) == ("grace", "Grace Hopper")
        assert created_by["issuer"] == web.url
        assert shown.json["created_at"].endswith("Z")
        assert shown.json["roles"] == ["project:admin"]
        assert list_projects(open_api, grace).json["projects"] == [shown.json]
        by_admin = show(open_api, ada, "skunkworks").json
        assert by_admin == {**shown.json, "roles": [], "project_admin": True}

    @pytest.mark.parametrize("role", ["credential:reader", "runner:token-reader"])
    def test_every_role_shows_the_project(
        self, strict: RunsApi, ada: Credential, grace: Credential, role: str
    ) -> None:
        """Also a role that does not let its holder read runs."""
        grant(strict, ada, "apollo", "grace", role)
        assert show(strict, grace, "apollo").json == project("apollo", role)

    def test_project_without_a_role_answers_like_a_missing_one(
        self, strict: RunsApi, ada: Credential, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """Neither the answer nor the reads tell that the project exists."""
        grant(strict, ada, "apollo", "margaret", "project:viewer")
        answers, calls = [], []
        for name in ("apollo", "nothing"):
            dynamodb.calls.clear()
            answer = show(strict, grace, name)
            answers.append((answer.status, answer.reason, answer.json["detail"]))
            calls.append([call.operation for call in dynamodb.calls])
        assert answers[0] == answers[1]
        assert answers[0][:2] == (404, "not_found")
        assert calls[0] == calls[1]

    def test_admin_of_all_projects_does_not_find_a_project_without_rows(
        self, strict: RunsApi, ada: Credential
    ) -> None:
        """A right to everything makes nothing exist; the first run does."""
        assert show(strict, ada, "apollo").reason == "not_found"
        strict.create(ada, "apollo")
        assert show(strict, ada, "apollo").json == project("apollo", project_admin=True)


def test_routes_of_runs_do_not_load_those_of_projects(start_api: Callable[..., RunsApi]) -> None:
    """Their paths begin alike, and a create must not import a package more."""
    api = start_api(PROJECT_ADMINS="ada", AUDIT_RETENTION_DAYS="77")
    [group] = [each for each in api.function.routes.pending if each.part == PROJECTS]
    assert f"{PROJECTS}/apollo/runs".count("/") > group.most_slashes
    assert f"{PROJECTS}/apollo".count("/") == group.most_slashes


def _all(api: RunsApi, by: Credential) -> list[dict[str, Any]]:
    """The caller's projects, from pages of one row."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = list_projects(api, by, limit="1", **cursor).json
        found += page["projects"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}
