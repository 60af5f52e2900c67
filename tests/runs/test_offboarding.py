"""Offboarding ends all that a person or an application has, and can stop anywhere."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from byline.identity.caller import Principal
from byline.registration.outbox import REVOCATION
from serve_runs.access.control import roles_key
from serve_runs.people.offboarding import STEPS
from stand_ins.authorization_service import serve_authorization
from tests.runs.access_rows import AccessRows, register, token_of
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.people_api import application, path_of, show, user
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, LostAnswer, Meanwhile
from tests.runs.test_listing import put_all, rows_of, run_id
from tools.index_people import index_people

NOTHING: dict[str, list[Any]] = {
    "roles": [],
    "service_accounts": [],
    "registrations": [],
    "agent_permissions": [],
    "credential_readers": [],
    "runs": [],
}


@pytest.fixture
def strict(start_api: Callable[..., RunsApi], dynamodb: DynamoDb) -> RunsApi:
    """Only Ada administers every project, and the indexes are complete."""
    index_people(dynamodb.client, runs_table=TABLE, access_table=ACCESS_TABLE)
    return start_api(PROJECT_ADMINS="ada")


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


def offboard(api: RunsApi, by: Credential, principal: Principal | str) -> Answer:
    """Ask for the end of all that a principal has."""
    return api.call("POST", f"{path_of(principal)}/offboard", by=by)


def what_is_left(answer: Answer) -> dict[str, list[Any]]:
    """What an answer says is left."""
    return {kind: answer.json[kind] for kind in NOTHING}


def grant(api: RunsApi, by: Credential, project: str, subject: str, role: str) -> None:
    """Grant a person a role in a project."""
    document = {"role": role, "subject": subject}
    path = f"/v1/projects/{project}/role-bindings"
    assert api.call("PUT", path, by=by, document=document).status == 201


def settle(api: RunsApi, ada: Credential, grace: Credential, helper: Credential) -> list[str]:
    """Give Grace roles in two projects, a service account and three live runs; the runs' ids."""
    grant(api, ada, "apollo", "grace", "project:admin")
    grant(api, ada, "apollo", "grace", "credential:token-reader")
    grant(api, ada, "gemini", "grace", "project:editor")
    assert register(api, grace, helper).status == 201
    runs = [api.create(by, project)["id"] for by, project in ((grace, "gemini"), (grace, "apollo"))]
    return [*runs, api.create(helper)["id"]]


@pytest.fixture
def helper(web: Web) -> Credential:
    """A service account without a role of its own."""
    return web.bearer("helper", client="helper")


class TestEnding:
    """Everything ends, in all projects, as the caller's act."""

    def test_person_has_nothing_left(
        self,
        strict: RunsApi,
        ada: Credential,
        grace: Credential,
        helper: Credential,
        web: Web,
        access_rows: AccessRows,
    ) -> None:
        """Roles, the service account and live runs end, with a record of the caller for each."""
        runs = settle(strict, ada, grace, helper)
        answer = offboard(strict, ada, user(web, "grace"))
        assert answer.status == 200
        assert what_is_left(answer) == NOTHING
        assert answer.json["ended"] == {
            "roles": 3,
            "service_accounts": 1,
            "registrations": 0,
            "agent_permissions": 0,
            "credential_readers": 0,
            "runs": 3,
        }
        assert what_is_left(show(strict, ada, user(web, "grace"))) == NOTHING
        for by in (grace, helper):
            assert strict.call("POST", "/v1/projects/apollo/runs", by=by).status == 404
        assert strict.call("GET", "/v1/whoami", by=helper).json["on_behalf_of"] is None
        for run, project in zip(runs, ("gemini", "apollo", "apollo"), strict=True):
            shown = strict.call("GET", f"/v1/projects/{project}/runs/{run}", by=ada).json
            assert shown["status"] == "cancelled"
            assert shown["cancelled_by"]["user"]["id"]["subject"] == "ada"
        for action, times in (("revoke_role", 3), ("delete_service_account", 1), ("cancel_run", 3)):
            records = access_rows.records(action)
            assert [record["principal"] for record in records] == [
                {"S": user(web, "ada").text}
            ] * times

    def test_application_has_nothing_left(
        self,
        strict: RunsApi,
        ada: Credential,
        grace: Credential,
        helper: Credential,
        web: Web,
        access_rows: AccessRows,
    ) -> None:
        """Its registrations end, its own runs too; what it ran for its person goes on."""
        access_rows.grant("project:editor", "helper", kind="application", project="gemini")
        grant(strict, ada, "apollo", "grace", "project:editor")
        own = strict.create(helper, "gemini")
        register(strict, grace, helper)
        for_grace = strict.create(helper, "apollo")
        index_people(access_rows.dynamodb.client, runs_table=TABLE, access_table=ACCESS_TABLE)
        answer = offboard(strict, ada, application(web, "helper"))
        assert answer.status == 200, answer.body
        assert answer.json["ended"] == {
            "roles": 1,
            "service_accounts": 0,
            "registrations": 1,
            "agent_permissions": 0,
            "credential_readers": 0,
            "runs": 1,
        }
        for project, run, status in (
            ("apollo", for_grace, "pending"),
            ("gemini", own, "cancelled"),
        ):
            shown = strict.call("GET", f"/v1/projects/{project}/runs/{run['id']}", by=ada).json
            assert shown["status"] == status

    def test_others_keep_what_they_have(
        self, strict: RunsApi, ada: Credential, grace: Credential, helper: Credential, web: Web
    ) -> None:
        """A namesake of another kind, and other people in the same projects, are untouched."""
        settle(strict, ada, grace, helper)
        grant(strict, ada, "apollo", "margaret", "project:editor")
        document = {"role": "project:editor", "subject": "grace", "kind": "application"}
        path = "/v1/projects/apollo/role-bindings"
        assert strict.call("PUT", path, by=ada, document=document).status == 201
        run = strict.create(ada, "apollo")
        assert offboard(strict, ada, user(web, "grace")).status == 200
        for principal in (user(web, "margaret"), application(web, "grace")):
            assert len(show(strict, ada, principal).json["roles"]) == 1
        assert show(strict, ada, "me").json["runs"] == [run]

    def test_last_admin_is_removed_and_the_project_named(
        self, strict: RunsApi, ada: Credential, web: Web, access_rows: AccessRows
    ) -> None:
        """`ProjectAdmins` still administer the project, and its next admin counts as the first."""
        for project in ("apollo", "gemini"):
            grant(strict, ada, project, "grace", "project:admin")
        grant(strict, ada, "gemini", "margaret", "project:admin")
        answer = offboard(strict, ada, user(web, "grace"))
        assert answer.json["projects_without_admin"] == ["apollo"]
        assert show(strict, ada, user(web, "grace")).json["roles"] == []
        counts = {
            row["scope"]["S"]: row["admins"]["N"] for row in access_rows.rows() if "admins" in row
        }
        assert counts == {"project#apollo": "0", "project#gemini": "1"}
        grant(strict, ada, "apollo", "lin", "project:admin")
        query = {"role": "project:admin", "subject": "lin"}
        path = "/v1/projects/apollo/role-bindings"
        assert strict.call("DELETE", path, by=ada, query=query).reason == "last_admin"

    def test_project_without_an_admin_is_not_new(
        self, start_api: Callable[..., RunsApi], ada: Credential, grace: Credential, web: Web
    ) -> None:
        """With `ProjectCreation=anyone`, nobody gets it by its next run."""
        api = start_api(PROJECT_ADMINS="ada", PROJECT_CREATION="anyone")
        api.create(grace, "apollo")
        assert offboard(api, ada, user(web, "grace")).json["projects_without_admin"] == ["apollo"]
        assert api.call("POST", "/v1/projects/apollo/runs", by=web.browser("lin")).status == 404

    def test_grant_of_the_authorization_service_is_revoked(
        self,
        start_api: Callable[..., RunsApi],
        ada: Credential,
        grace: Credential,
        helper: Credential,
        web: Web,
        dynamodb: DynamoDb,
    ) -> None:
        """The revocation is written with the deletion of the registration."""
        with serve_authorization() as service:
            api = start_api(PROJECT_ADMINS="ada", AUTHORIZATION_SERVICE_URL=service.url)
            grant(api, ada, "apollo", "grace", "project:editor")
            document = {"token": token_of(helper)}
            path = "/v1/projects/apollo/service-accounts"
            assert api.call("POST", path, by=grace, document=document).status == 201
            offboard(api, ada, user(web, "grace"))
        [row] = [row for row in dynamodb.rows() if row["project"]["S"].startswith(REVOCATION)]
        assert row["person"] == {"S": user(web, "grace").text}

    def test_person_with_nothing_is_answered_at_once(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """A repetition changes nothing and writes nothing."""
        show(strict, ada, "me")
        dynamodb.calls.clear()
        answer = offboard(strict, ada, user(web, "nobody"))
        assert (answer.status, what_is_left(answer)) == (200, NOTHING)
        assert dynamodb.writes() == []

    def test_incomplete_indexes_are_not_called_done(
        self, start_api: Callable[..., RunsApi], ada: Credential, web: Web
    ) -> None:
        """What is indexed ends, and the answer is 202, because older rows may be left."""
        api = start_api(PROJECT_ADMINS="ada")
        grant(api, ada, "apollo", "grace", "project:editor")
        answer = offboard(api, ada, user(web, "grace"))
        assert (answer.status, answer.json["complete"]) == (202, False)
        assert answer.json["ended"]["roles"] == 1


class TestAccess:
    """Only admins of the deployment offboard."""

    def test_person_cannot_offboard_itself_or_others(
        self, strict: RunsApi, ada: Credential, grace: Credential, helper: Credential, web: Web
    ) -> None:
        """An admin of a project knows of no other person, and nothing changes."""
        settle(strict, ada, grace, helper)
        before = show(strict, ada, user(web, "grace")).json
        assert offboard(strict, grace, "me").status == 403
        assert offboard(strict, grace, user(web, "ada")).status == 404
        assert offboard(strict, helper, user(web, "grace")).status == 404
        assert offboard(strict, NO_CREDENTIAL, user(web, "grace")).status == 401
        assert show(strict, ada, user(web, "grace")).json == before

    def test_agent_of_an_admin_offboards_nobody(
        self, start_api: Callable[..., RunsApi], ada: Credential, web: Web
    ) -> None:
        """An agent that carries an admin's token has no role outside projects."""
        token = web.bearer("ada", client="helper", act={"sub": "helper", "client_id": "helper"})
        api = start_api(PROJECT_ADMINS="ada,application:helper")
        grant(api, ada, "apollo", "grace", "project:editor")
        assert offboard(api, token, user(web, "grace")).status == 404
        assert len(show(api, ada, user(web, "grace")).json["roles"]) == 1

    def test_page_of_another_site_offboards_nobody(
        self, strict: RunsApi, ada: Credential, web: Web
    ) -> None:
        """A browser's request from another origin is refused."""
        grant(strict, ada, "apollo", "grace", "project:editor")
        path = f"{path_of(user(web, 'grace'))}/offboard"
        headers = [("sec-fetch-site", "cross-site")]
        answer = strict.call("POST", path, by=ada, headers=headers)
        assert (answer.status, answer.reason) == (403, "cross_site_request")
        assert len(show(strict, ada, user(web, "grace")).json["roles"]) == 1


class TestStops:
    """A request that stops anywhere and is repeated ends as one that does not."""

    def test_request_that_dies_after_any_call_is_completed_by_the_next(
        self,
        strict: RunsApi,
        ada: Credential,
        grace: Credential,
        helper: Credential,
        web: Web,
        dynamodb: DynamoDb,
        access_rows: AccessRows,
    ) -> None:
        """Each thing ends once and has one record, whatever the last call was."""
        deaths = 0
        while True:
            dynamodb.reset()
            index_people(dynamodb.client, runs_table=TABLE, access_table=ACCESS_TABLE)
            settle(strict, ada, grace, helper)
            dynamodb.remaining = deaths
            first = offboard(strict, ada, user(web, "grace"))
            dynamodb.remaining = None
            second = offboard(strict, ada, user(web, "grace"))
            assert (second.status, what_is_left(second)) == (200, NOTHING)
            records = ("revoke_role", "delete_service_account", "cancel_run")
            assert [len(access_rows.records(action)) for action in records] == [3, 1, 3]
            assert {row["admins"]["N"] for row in access_rows.rows() if "admins" in row} == {"0"}
            assert strict.call("POST", "/v1/projects/apollo/runs", by=helper).status == 404
            if first.status == 200:
                break
            deaths += 1
        assert deaths > 15

    def test_lost_answers_change_nothing(
        self,
        strict: RunsApi,
        ada: Credential,
        grace: Credential,
        helper: Credential,
        web: Web,
        dynamodb: DynamoDb,
        access_rows: AccessRows,
    ) -> None:
        """botocore repeats each transaction with its token."""
        settle(strict, ada, grace, helper)
        dynamodb.faults.append(LostAnswer("TransactWriteItems"))
        answer = offboard(strict, ada, user(web, "grace"))
        assert answer.status == 200
        assert answer.json["ended"]["roles"] == 3
        assert len(access_rows.records("revoke_role")) == 3

    def test_more_than_a_request_can_end_is_left_and_named(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """The answer is 202 with what is left, and the next requests end it."""
        grace = user(web, "grace")
        rows: list[Any] = [
            {
                **roles_key(f"p{number}", grace),
                "roles": {"SS": ["project:viewer"]},
                "holder": {"S": grace.text},
            }
            for number in range(STEPS + 5)
        ]
        put_all(dynamodb, rows, table=ACCESS_TABLE)
        answers = [offboard(strict, ada, grace)]
        assert answers[0].status == 202
        assert what_is_left(answers[0])["roles"]
        while answers[-1].status == 202:
            answers.append(offboard(strict, ada, grace))
        assert all(answer.json["ended"]["roles"] <= STEPS for answer in answers)
        assert sum(answer.json["ended"]["roles"] for answer in answers) == STEPS + 5

    def test_many_revoked_roles_do_not_keep_it_from_ending(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """Rows without roles are passed over, however many there are."""
        grace = user(web, "grace")
        rows: list[Any] = [
            {**roles_key(f"p{number:03}", grace), "holder": {"S": grace.text}}
            for number in range(620)
        ]
        rows[610]["roles"] = {"SS": ["project:viewer"]}
        put_all(dynamodb, rows, table=ACCESS_TABLE)
        answer = offboard(strict, ada, grace)
        assert (answer.status, answer.json["ended"]["roles"]) == (200, 1)


class TestAtOnce:
    """What is granted or started while a person is offboarded."""

    def test_role_that_is_granted_meanwhile_is_ended_too(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """The request lists again from the start until it finds nothing."""
        grant(strict, ada, "zeus", "grace", "project:viewer")
        dynamodb.faults.append(
            Meanwhile(
                "TransactWriteItems",
                lambda: grant(strict, ada, "apollo", "grace", "project:admin"),
            )
        )
        answer = offboard(strict, ada, user(web, "grace"))
        assert (answer.status, answer.json["ended"]["roles"]) == (200, 2)
        assert show(strict, ada, user(web, "grace")).json["roles"] == []

    def test_run_that_ends_meanwhile_keeps_its_state(
        self, strict: RunsApi, ada: Credential, grace: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """It is not cancelled, and not counted as ended."""
        put_all(dynamodb, rows_of([(run_id(1), "apollo", "grace", "running")], issuer=web.url))
        path = f"/v1/projects/apollo/runs/{run_id(1)}"
        dynamodb.faults.append(
            Meanwhile("GetItem", lambda: strict.call("POST", f"{path}/finish", by=ada))
        )
        answer = offboard(strict, ada, user(web, "grace"))
        assert (answer.status, answer.json["ended"]["runs"]) == (200, 0)
        assert strict.call("GET", path, by=ada).json["status"] == "succeeded"

    def test_role_that_is_granted_afterwards_counts(
        self, strict: RunsApi, ada: Credential, grace: Credential, web: Web
    ) -> None:
        """Offboarding is no ban: a later grant is a decision of its own."""
        offboard(strict, ada, user(web, "grace"))
        grant(strict, ada, "apollo", "grace", "project:editor")
        assert strict.call("POST", "/v1/projects/apollo/runs", by=grace).status == 201

    def test_two_requests_end_each_thing_once(
        self,
        strict: RunsApi,
        ada: Credential,
        grace: Credential,
        helper: Credential,
        web: Web,
        access_rows: AccessRows,
    ) -> None:
        """Both end well, and each role, registration and run has one record."""
        settle(strict, ada, grace, helper)
        with ThreadPoolExecutor(2) as threads:
            answers = list(
                threads.map(lambda _: offboard(strict, ada, user(web, "grace")), range(2))
            )
        assert {answer.status for answer in answers} <= {200, 202, 503}
        assert offboard(strict, ada, user(web, "grace")).status == 200
        records = ("revoke_role", "delete_service_account", "cancel_run")
        assert [len(access_rows.records(action)) for action in records] == [3, 1, 3]
