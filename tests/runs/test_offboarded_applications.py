"""Registrations of a service account and permissions of an agent are listed, and offboarding ends
them."""

from collections.abc import Callable
from typing import Any

import pytest

from byline.tables.rows import Item
from serve_runs.access.control import acts_for_key, agent_key, registration_keys
from serve_runs.agents.views import listed_key as listed_agent_key
from serve_runs.service_accounts.views import listed_key
from tests.runs.access_rows import AccessRows, creation_status, token_of
from tests.runs.identity_server import Credential, Web
from tests.runs.people_api import all_pages, application, path_of, show, user
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, Meanwhile
from tools.index_people import index_people

PAST: Item = {"expires_at": {"N": "1000000000"}}


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


@pytest.fixture
def strict(start_api: Callable[..., RunsApi], access_rows: AccessRows) -> RunsApi:
    """Only Ada administers every project, and the indexes are complete."""
    prepare(access_rows)
    return start_api(PROJECT_ADMINS="ada")


@pytest.fixture
def robot(web: Web) -> Credential:
    """An application's own token, without a role of its own."""
    return web.bearer("robot", client="robot")


@pytest.fixture
def agent(web: Web) -> Credential:
    """The token with which the application `robot` acts for Lin."""
    return web.bearer("lin", client="robot", act={"sub": "robot"})


def prepare(access_rows: AccessRows) -> None:
    """Make the indexes complete, and make Lin an editor of `apollo` and Tom one of `gemini`."""
    client = access_rows.dynamodb.client
    index_people(client, runs_table=TABLE, access_table=ACCESS_TABLE)
    access_rows.grant("project:editor", "lin")
    access_rows.grant("project:editor", "tom", project="gemini")


def allow(api: RunsApi, by: Credential, project: str, name: str = "helper") -> Answer:
    """Allow the application `robot` as an agent in a project, under a name."""
    path = f"/v1/projects/{project}/agents/{name}"
    return api.call("PUT", path, by=by, document={"subject": "robot"})


def register(api: RunsApi, by: Credential, project: str, account: Credential) -> Answer:
    """Register `account` in a project."""
    document = {"token": token_of(account)}
    return api.call("POST", f"/v1/projects/{project}/service-accounts", by=by, document=document)


def settle(api: RunsApi, ada: Credential, robot: Credential, web: Web) -> list[Any]:
    """Give `robot` two registrations and two permissions: all four, as the API shows them."""
    answers = [
        register(api, web.browser("lin"), "apollo", robot),
        register(api, web.browser("tom"), "gemini", robot),
        allow(api, ada, "apollo"),
        allow(api, ada, "gemini", "planner"),
    ]
    assert {answer.status for answer in answers} == {201}
    return [answer.json for answer in answers]


def offboard(api: RunsApi, by: Credential, web: Web, subject: str = "robot") -> Answer:
    """Ask for the end of all that an application has."""
    return api.call("POST", f"{path_of(application(web, subject))}/offboard", by=by)


def change(dynamodb: DynamoDb, old_key: Item, new_key: Item, more: Item) -> None:
    """Move a row to another key, with changed attributes."""
    row = dynamodb.client.get_item(TableName=ACCESS_TABLE, Key=old_key)["Item"]
    dynamodb.client.delete_item(TableName=ACCESS_TABLE, Key=old_key)
    dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=row | new_key | more)


def write_as_before(dynamodb: DynamoDb, web: Web, account_id: str) -> None:
    """Give a registration in `apollo` the keys and attributes of an earlier version."""
    new, old = registration_keys(application(web, "robot"), ["apollo"])
    before = "onouhmn4ymflawfjjvb67qxxws"
    keys = (new, old), (listed_key("apollo", account_id), listed_key("apollo", before))
    for key, key_before in keys:
        change(dynamodb, key, key_before, {"id": {"S": before}})
        dynamodb.client.update_item(
            TableName=ACCESS_TABLE, Key=key_before, UpdateExpression="REMOVE holder"
        )


class TestList:
    """An application is shown with what lets it act for people."""

    def test_application_is_shown_with_registrations_and_permissions_of_all_projects(
        self, strict: RunsApi, ada: Credential, robot: Credential, web: Web
    ) -> None:
        """Under the same bodies as in their projects, for admins and for itself."""
        *registrations, first, second = settle(strict, ada, robot, web)
        register(strict, web.browser("lin"), "apollo", web.bearer("other", client="other"))
        for by, name in ((ada, application(web, "robot")), (robot, "me")):
            shown = show(strict, by, name).json
            assert shown["registrations"] == registrations
            assert shown["agent_permissions"] == [first, second]
        namesake = show(strict, ada, user(web, "robot")).json
        assert (namesake["registrations"], namesake["agent_permissions"]) == ([], [])
        assert len(show(strict, ada, user(web, "lin")).json["service_accounts"]) == 2

    @pytest.mark.parametrize("limit", [1, 3, 100])
    def test_pages_contain_everything_once(
        self, strict: RunsApi, ada: Credential, robot: Credential, web: Web, limit: int
    ) -> None:
        """Pages go on from registrations to permissions."""
        settle(strict, ada, robot, web)
        found = all_pages(strict, ada, application(web, "robot"), limit=limit)
        for kind in ("registrations", "agent_permissions"):
            assert [one["project"] for one in found[kind]] == ["apollo", "gemini"]

    def test_what_has_ended_is_not_listed(
        self, strict: RunsApi, ada: Credential, robot: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """From its end on, a registration or permission counts as absent, and ends nothing."""
        by_lin, *_ = settle(strict, ada, robot, web)
        for key in (
            acts_for_key(application(web, "robot"), "apollo"),
            listed_key("apollo", by_lin["id"]),
            agent_key(application(web, "robot"), "apollo"),
            listed_agent_key("apollo", "helper"),
        ):
            change(dynamodb, key, key, PAST)
        shown = show(strict, ada, application(web, "robot")).json
        for kind in ("registrations", "agent_permissions"):
            assert [one["project"] for one in shown[kind]] == ["gemini"]
        assert show(strict, ada, user(web, "lin")).json["service_accounts"] == []
        ended = offboard(strict, ada, web).json["ended"]
        assert (ended["registrations"], ended["agent_permissions"]) == (1, 1)

    def test_delegated_token_does_not_show_the_agents_own(
        self, strict: RunsApi, ada: Credential, robot: Credential, agent: Credential, web: Web
    ) -> None:
        """Whoever has such a token sees nothing of other people that the agent acts for."""
        settle(strict, ada, robot, web)
        for name in ("me", application(web, "robot"), user(web, "lin")):
            assert show(strict, agent, name).status == 404


class TestEnd:
    """Offboarding ends what lets an application act for people."""

    def test_application_acts_for_nobody_any_more(
        self,
        strict: RunsApi,
        ada: Credential,
        robot: Credential,
        agent: Credential,
        web: Web,
        access_rows: AccessRows,
    ) -> None:
        """Neither by its own token nor by a person's. Each end has a record in its project."""
        account, *_ = settle(strict, ada, robot, web)
        access_rows.allow("other")
        assert (creation_status(strict, robot), creation_status(strict, agent)) == (201, 201)
        answer = offboard(strict, ada, web)
        assert answer.status == 200
        assert answer.json["ended"] == {
            "roles": 0,
            "service_accounts": 0,
            "registrations": 2,
            "agent_permissions": 2,
            "credential_readers": 0,
            "runs": 0,
        }
        assert (answer.json["registrations"], answer.json["agent_permissions"]) == ([], [])
        assert (creation_status(strict, robot), creation_status(strict, agent)) == (404, 404)
        path = f"/v1/projects/apollo/service-accounts/{account['id']}"
        for gone in (path, "/v1/projects/apollo/agents/helper"):
            assert strict.call("GET", gone, by=ada).status == 404
        assert strict.call("GET", "/v1/projects/apollo/agents/other", by=ada).status == 200
        records = access_rows.records("delete_agent")
        assert {(row["scope"]["S"].split("#")[1], row["principal"]["S"]) for row in records} == {
            (project, user(web, "ada").text) for project in ("apollo", "gemini")
        }
        assert len(access_rows.records("delete_service_account")) == 2

    def test_registration_of_an_earlier_version_is_listed_and_ended(
        self, strict: RunsApi, ada: Credential, robot: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """It has one row for all projects. For its person, the command of the upgrade finds it."""
        account = register(strict, web.browser("lin"), "apollo", robot).json
        write_as_before(dynamodb, web, account["id"])
        for project in ("apollo", "gemini"):
            allow(strict, ada, project)
        assert show(strict, ada, user(web, "lin")).json["service_accounts"] == []
        index_people(dynamodb.client, runs_table=TABLE, access_table=ACCESS_TABLE)
        [account] = show(strict, ada, user(web, "lin")).json["service_accounts"]
        found = all_pages(strict, ada, application(web, "robot"), limit=1)
        assert found["registrations"] == [account]
        assert creation_status(strict, robot) == 201
        assert offboard(strict, ada, web).json["ended"]["registrations"] == 1
        assert creation_status(strict, robot) == 404
        assert show(strict, ada, user(web, "lin")).json["service_accounts"] == []

    def test_person_leaves_and_its_registrations_end_in_each_project(
        self,
        strict: RunsApi,
        ada: Credential,
        robot: Credential,
        web: Web,
        access_rows: AccessRows,
    ) -> None:
        """The account's registration by somebody else, and its permissions, stay."""
        access_rows.grant("project:editor", "lin", project="zeus")
        settle(strict, ada, robot, web)
        register(strict, web.browser("lin"), "zeus", robot)
        index_people(access_rows.dynamodb.client, runs_table=TABLE, access_table=ACCESS_TABLE)
        answer = strict.call("POST", f"{path_of(user(web, 'lin'))}/offboard", by=ada)
        assert (answer.status, answer.json["ended"]["service_accounts"]) == (200, 2)
        shown = show(strict, ada, application(web, "robot")).json
        assert [one["project"] for one in shown["registrations"]] == ["gemini"]
        assert len(shown["agent_permissions"]) == 2

    def test_permission_that_is_deleted_meanwhile_is_not_counted(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """Another agent that takes its name keeps its permission."""
        allow(strict, ada, "apollo")
        path = "/v1/projects/apollo/agents/helper"

        def replace() -> None:
            assert strict.call("DELETE", path, by=ada).status == 204
            document = {"subject": "other"}
            assert strict.call("PUT", path, by=ada, document=document).status == 201

        dynamodb.faults.append(Meanwhile("GetItem", replace))
        answer = offboard(strict, ada, web)
        assert (answer.status, answer.json["ended"]["agent_permissions"]) == (200, 0)
        assert strict.call("GET", path, by=ada).json["subject"] == "other"

    def test_request_that_dies_after_any_call_is_completed_by_the_next(
        self,
        strict: RunsApi,
        ada: Credential,
        robot: Credential,
        agent: Credential,
        web: Web,
        access_rows: AccessRows,
    ) -> None:
        """Each registration and permission ends once and has one record."""
        dynamodb, deaths = access_rows.dynamodb, 0
        while True:
            dynamodb.reset()
            prepare(access_rows)
            settle(strict, ada, robot, web)
            dynamodb.remaining = deaths
            first = offboard(strict, ada, web)
            dynamodb.remaining = None
            second = offboard(strict, ada, web)
            assert second.status == 200
            assert (second.json["registrations"], second.json["agent_permissions"]) == ([], [])
            records = ("delete_service_account", "delete_agent")
            assert [len(access_rows.records(action)) for action in records] == [2, 2]
            assert (creation_status(strict, robot), creation_status(strict, agent)) == (404, 404)
            if first.status == 200:
                break
            deaths += 1
        assert deaths > 10
