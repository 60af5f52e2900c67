"""What a person or an application has in all projects."""

from collections.abc import Callable
from typing import Any

import pytest

from byline.identity.caller import ANONYMOUS, Principal
from serve_runs.people.holdings import Holdings
from serve_runs.profiles.store import profile_key
from serve_runs.runs.views import accountable_partition
from tests.runs.access_rows import AccessRows, register
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.people_api import all_pages, application, path_of, show, user
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, TABLE, DynamoDb, Refusal
from tests.runs.test_listing import put_all, rows_of, run_id
from tools.index_people import index_people

BACKFILLING = "Cannot read from backfilling global secondary index: by-holder"


@pytest.fixture
def strict(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Only Ada administers every project."""
    return start_api(PROJECT_ADMINS="ada")


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


def grant(api: RunsApi, by: Credential, project: str, subject: str, *roles: str) -> None:
    """Grant a person roles in a project."""
    for role in roles:
        document = {"role": role, "subject": subject}
        path = f"/v1/projects/{project}/role-bindings"
        assert api.call("PUT", path, by=by, document=document).status == 201


def index(dynamodb: DynamoDb) -> int:
    """Run the command after an upgrade."""
    return index_people(dynamodb.client, runs_table=TABLE, access_table=ACCESS_TABLE)


class TestHoldings:
    """Roles and live runs are listed over all projects."""

    def test_person_is_shown_with_roles_and_live_runs_of_all_projects(
        self,
        strict: RunsApi,
        ada: Credential,
        grace: Credential,
        web: Web,
        dynamodb: DynamoDb,
    ) -> None:
        """A run that is over is not listed, and neither is what others have."""
        grant(strict, ada, "apollo", "grace", "project:editor", "credential:reader")
        grant(strict, ada, "gemini", "grace", "project:editor")
        grant(strict, ada, "apollo", "margaret", "project:viewer")
        runs = [strict.create(grace, project) for project in ("gemini", "apollo", "apollo")]
        over = f"/v1/projects/apollo/runs/{runs[2]['id']}/cancel"
        assert strict.call("POST", over, by=grace).status == 200
        strict.create(ada, "apollo")
        names = {"first_name": "Grace", "last_name": "Hopper", "address": "g@example.com"}
        profile = {name: {"S": text} for name, text in names.items()}
        dynamodb.client.put_item(
            TableName=ACCESS_TABLE, Item={**profile_key(user(web, "grace")), **profile}
        )
        answer = show(strict, ada, user(web, "grace"))
        assert answer.status == 200
        assert answer.json == {
            "principal": user(web, "grace").text,
            "who": {
                "kind": "user",
                "issuer": web.url,
                "subject": "grace",
                "name": "Grace Hopper",
                "email": "g@example.com",
                "through": None,
                "link": None,
                "started_for": None,
            },
            "project_admin": False,
            "complete": False,
            "roles": [
                {"project": "apollo", "roles": ["credential:reader", "project:editor"]},
                {"project": "gemini", "roles": ["project:editor"]},
            ],
            "service_accounts": [],
            "registrations": [],
            "agent_permissions": [],
            "credential_readers": [],
            "runs": runs[:2],
            "next_cursor": None,
        }

    def test_run_is_listed_for_the_person_that_its_creator_acted_for(
        self, strict: RunsApi, ada: Credential, web: Web, access_rows: AccessRows
    ) -> None:
        """The accountable principal has the run, not the application that created it."""
        access_rows.grant("project:editor", "grace")
        access_rows.allow("helper")
        token = web.bearer("grace", client="helper", act={"sub": "helper", "client_id": "helper"})
        run = strict.create(token)
        assert run["on_behalf_of"]["user"]["id"]["subject"] == "grace"
        assert show(strict, ada, user(web, "grace")).json["runs"] == [run]
        assert show(strict, ada, application(web, "helper")).json["runs"] == []

    def test_application_has_its_own_runs_and_roles(
        self, strict: RunsApi, ada: Credential, nightly: Credential, web: Web
    ) -> None:
        """An application is found as a person is, and the person of its name is not."""
        document = {"role": "project:editor", "subject": "nightly", "kind": "application"}
        strict.call("PUT", "/v1/projects/apollo/role-bindings", by=ada, document=document)
        run = strict.create(nightly)
        shown = show(strict, ada, application(web, "nightly")).json
        assert shown["runs"] == [run]
        assert shown["roles"] == [{"project": "apollo", "roles": ["project:editor"]}]
        assert shown["who"]["kind"] == "application"
        assert show(strict, ada, user(web, "nightly")).json["roles"] == []

    def test_registration_is_listed_for_its_person_and_its_application(
        self,
        strict: RunsApi,
        ada: Credential,
        grace: Credential,
        nightly: Credential,
        web: Web,
    ) -> None:
        """The person has a service account, the service account a registration."""
        grant(strict, ada, "apollo", "grace", "project:editor")
        account = register(strict, grace, nightly).json
        person = show(strict, ada, user(web, "grace")).json
        assert (person["service_accounts"], person["registrations"]) == ([account], [])
        machine = show(strict, nightly, "me").json
        assert (machine["service_accounts"], machine["registrations"]) == ([], [account])
        path = f"/v1/projects/apollo/service-accounts/{account['id']}"
        assert strict.call("DELETE", path, by=grace).status == 204
        assert show(strict, ada, user(web, "grace")).json["service_accounts"] == []

    def test_revoked_role_is_not_listed(self, strict: RunsApi, ada: Credential, web: Web) -> None:
        """The row stays when its last role is revoked, and is not shown."""
        grant(strict, ada, "apollo", "grace", "project:editor", "project:viewer")
        for role, left in (("project:editor", ["project:viewer"]), ("project:viewer", [])):
            query = {"role": role, "subject": "grace"}
            path = "/v1/projects/apollo/role-bindings"
            assert strict.call("DELETE", path, by=ada, query=query).status == 204
            roles = show(strict, ada, user(web, "grace")).json["roles"]
            assert [role for binding in roles for role in binding["roles"]] == left

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_pages_contain_everything_once(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb, limit: int
    ) -> None:
        """The pages go from roles to runs, with at most `limit` rows each."""
        projects = ["apollo", "gemini", "mercury"]
        for project in projects:
            grant(strict, ada, project, "grace", "project:viewer")
        rows = [(run_id(number), projects[number % 3], "grace", "pending") for number in range(4)]
        put_all(dynamodb, rows_of(rows, issuer=web.url))
        found = all_pages(strict, ada, user(web, "grace"), limit=limit)
        assert sorted(binding["project"] for binding in found["roles"]) == projects
        assert [run["id"] for run in found["runs"]] == [run_id(number) for number in range(4)]

    def test_many_revoked_roles_end_a_page_early(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """A request reads at most five pages of rows, and its cursor leads on."""
        rows: list[Any] = [
            {
                "scope": {"S": f"project#p{number:03}"},
                "entry": {"S": f"roles#{user(web, 'grace').text}"},
                "holder": {"S": user(web, "grace").text},
            }
            for number in range(510)
        ]
        rows[505]["roles"] = {"SS": ["project:viewer"]}
        put_all(dynamodb, rows, table=ACCESS_TABLE)
        dynamodb.calls.clear()
        first = show(strict, ada, user(web, "grace")).json
        queries = [call.document for call in dynamodb.calls if call.operation == "Query"]
        assert len(queries) == 5
        assert first["roles"] == []
        assert first["next_cursor"]
        assert len(all_pages(strict, ada, user(web, "grace"), limit=20)["roles"]) == 1

    def test_row_of_a_run_that_ended_is_not_listed_by_an_outdated_index(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """Runs are read from the table, because an index may be a second behind."""
        [row] = rows_of([(run_id(1), "apollo", "grace", "pending")], issuer=web.url)
        put_all(dynamodb, [row | {"status": {"S": "succeeded"}}])
        assert show(strict, ada, user(web, "grace")).json["runs"] == []

    def test_nothing_is_scanned(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """The answer takes three queries and a few reads by key."""
        grant(strict, ada, "apollo", "grace", "project:viewer")
        dynamodb.calls.clear()
        show(strict, ada, user(web, "grace"))
        indexes = [call.document.get("IndexName") for call in dynamodb.calls]
        assert {call.operation for call in dynamodb.calls} <= {"Query", "GetItem", "BatchGetItem"}
        assert [index for index in indexes if index] == ["by-holder"] * 2 + ["by-accountable"]


class TestAccess:
    """Admins of the deployment ask about everyone, everyone else about themselves only."""

    def test_person_asks_about_itself(
        self, strict: RunsApi, ada: Credential, grace: Credential, web: Web
    ) -> None:
        """By `me` and by its own principal, with and without a role."""
        assert show(strict, grace, "me").json["roles"] == []
        grant(strict, ada, "apollo", "grace", "project:viewer")
        own = show(strict, grace, "me")
        assert own.json["roles"] == [{"project": "apollo", "roles": ["project:viewer"]}]
        assert own.json == show(strict, grace, user(web, "grace")).json
        assert own.json == show(strict, grace, "grace").json

    def test_application_asks_about_itself(
        self, strict: RunsApi, nightly: Credential, web: Web
    ) -> None:
        """`me` is the application, also where a person of the same name exists."""
        assert show(strict, nightly, "me").json["principal"] == application(web, "nightly").text
        assert show(strict, nightly, user(web, "nightly")).status == 404

    @pytest.mark.parametrize("role", ["project:admin", "project:editor", "project:viewer"])
    def test_role_of_a_project_shows_nobody_else(
        self, strict: RunsApi, ada: Credential, grace: Credential, web: Web, role: str
    ) -> None:
        """An admin of a project is answered 404, whether the person has anything or not."""
        grant(strict, ada, "apollo", "grace", role)
        grant(strict, ada, "apollo", "margaret", "project:viewer")
        refused = [
            show(strict, grace, user(web, subject)) for subject in ("margaret", "ada", "nobody")
        ]
        assert {answer.status for answer in refused} == {404}
        assert len({answer.json["detail"] for answer in refused}) == 1

    def test_row_cannot_give_the_role_of_the_deployment(
        self, strict: RunsApi, grace: Credential, web: Web, access_rows: AccessRows
    ) -> None:
        """Only `ProjectAdmins` makes an admin of the deployment, whatever the table says."""
        for project in ("apollo", "-"):
            access_rows.grant("deployment:admin", "grace", project=project)
        assert show(strict, grace, user(web, "ada")).status == 404

    def test_role_of_the_deployment_cannot_be_granted(
        self, strict: RunsApi, ada: Credential
    ) -> None:
        """It is no role of a project."""
        document = {"role": "deployment:admin", "subject": "grace"}
        path = "/v1/projects/apollo/role-bindings"
        answer = strict.call("PUT", path, by=ada, document=document)
        assert (answer.status, answer.reason) == (400, "invalid_body")

    def test_anonymous_caller_is_shown_nothing(self, start_api: Callable[..., RunsApi]) -> None:
        """Not even where settings make anonymous callers admins of every project."""
        api = start_api(PROJECT_ADMINS="ada,anonymous", ANONYMOUS_CALLERS="allow")
        for text in ("me", "ada", ANONYMOUS.text):
            assert show(api, NO_CREDENTIAL, text).status == 401

    def test_agent_of_an_admin_is_shown_nothing(
        self, start_api: Callable[..., RunsApi], web: Web
    ) -> None:
        """An agent has no role outside projects, whoever it and its person are."""
        token = web.bearer("ada", client="helper", act={"sub": "helper", "client_id": "helper"})
        target = user(web, "margaret")
        assert show(start_api(PROJECT_ADMINS="ada"), token, target).status == 404
        assert show(start_api(PROJECT_ADMINS="application:helper"), token, target).status == 404
        both = start_api(PROJECT_ADMINS="ada,application:helper")
        assert show(both, token, target).status == 404
        own = web.bearer("helper", client="helper")
        assert show(both, own, target).status == 200

    def test_admin_of_the_deployment_is_marked(
        self, strict: RunsApi, ada: Credential, web: Web
    ) -> None:
        """Its rights come from a setting, so no row lists them."""
        assert show(strict, ada, "me").json["project_admin"] is True
        assert show(strict, ada, user(web, "grace")).json["project_admin"] is False


class TestNames:
    """A principal is named in the path."""

    @pytest.mark.parametrize(
        "text", ["user:", "user:ada", "user:#ada", "application:https://x.example#", "%ff"]
    )
    def test_malformed_principal_is_refused(
        self, strict: RunsApi, ada: Credential, text: str
    ) -> None:
        """A text that begins as a principal and is none is answered 400."""
        path = "/v1/people/%ff" if text == "%ff" else path_of(text)
        answer = strict.call("GET", path, by=ada)
        assert (answer.status, answer.reason) == (400, "invalid_parameter")

    @pytest.mark.parametrize("subject", ["a/b", "a#b", "a%b", "ada@example.com", "ада", "a b"])
    def test_subject_with_any_character_is_found(
        self, strict: RunsApi, ada: Credential, web: Web, subject: str
    ) -> None:
        """A percent-encoded principal is read back as it is."""
        grant(strict, ada, "apollo", subject, "project:viewer")
        answer = show(strict, ada, user(web, subject))
        assert answer.json["who"]["subject"] == subject
        assert len(answer.json["roles"]) == 1

    def test_principal_of_the_longest_size_is_found_and_a_longer_one_refused(
        self, strict: RunsApi, ada: Credential, web: Web
    ) -> None:
        """The limit is that of a role binding."""
        room = 840 - len(user(web, "").text)
        assert show(strict, ada, user(web, "x" * room)).status == 200
        assert show(strict, ada, user(web, "x" * (room + 1))).status == 400

    def test_cursor_of_another_person_is_refused(
        self, strict: RunsApi, ada: Credential, web: Web
    ) -> None:
        """A cursor belongs to the person whose page it continues."""
        for project in ("apollo", "gemini"):
            grant(strict, ada, project, "grace", "project:viewer")
        cursor = show(strict, ada, user(web, "grace"), limit="1").json["next_cursor"]
        assert show(strict, ada, user(web, "grace"), cursor=cursor).status == 200
        answer = show(strict, ada, user(web, "margaret"), cursor=cursor)
        assert (answer.status, answer.reason) == (400, "invalid_cursor")


class TestUpgrade:
    """Rows of earlier versions are found after `tools.index_people`, and missed openly before."""

    @pytest.fixture
    def outdated(self, dynamodb: DynamoDb, web: Web, access_rows: AccessRows) -> DynamoDb:
        """Roles and runs as an earlier version wrote them."""
        access_rows.grant("project:editor", "grace")
        access_rows.grant("project:viewer", "grace", project="gemini")
        rows = rows_of(
            [(run_id(number), "apollo", "grace", "pending") for number in range(2)], issuer=web.url
        )
        for row in rows:
            del row["live_for"]
        # A run that ended, written into the index by a function of this version before it did.
        [ended] = rows_of([(run_id(2), "apollo", "grace", "failed")], issuer=web.url)
        rows.append(ended | {"live_for": {"S": accountable_partition(user(web, "grace").text)}})
        rows[1] |= {"person": {"S": user(web, "margaret").text}}
        put_all(dynamodb, rows)
        return dynamodb

    def test_answer_says_that_rows_may_be_missing(
        self, strict: RunsApi, ada: Credential, web: Web, outdated: DynamoDb
    ) -> None:
        """Until the command has run, `complete` is false."""
        before = show(strict, ada, user(web, "grace")).json
        assert (before["complete"], before["roles"], before["runs"]) == (False, [], [])
        assert index(outdated) == 5
        after = show(strict, ada, user(web, "grace")).json
        assert after["complete"] is True
        assert [binding["project"] for binding in after["roles"]] == ["apollo", "gemini"]
        assert [run["id"] for run in after["runs"]] == [run_id(0)]
        other = show(strict, ada, user(web, "margaret")).json
        assert [run["id"] for run in other["runs"]] == [run_id(1)]

    def test_command_again_changes_nothing(self, outdated: DynamoDb) -> None:
        """A second run finds no row to correct."""
        assert index(outdated) == 5
        assert index(outdated) == 0

    def test_command_that_stops_early_does_not_call_the_indexes_complete(
        self, strict: RunsApi, ada: Credential, web: Web, outdated: DynamoDb
    ) -> None:
        """The row that says so is written last."""
        outdated.faults.append(Refusal("UpdateItem", "AccessDeniedException"))
        with pytest.raises(outdated.client.exceptions.ClientError):
            index(outdated)
        assert show(strict, ada, user(web, "grace")).json["complete"] is False

    def test_command_before_the_deployment_is_refused(self, dynamodb: DynamoDb) -> None:
        """Without the index, a function of an earlier version may still write rows."""
        definition: Any = dynamodb.client.describe_table(TableName=TABLE)["Table"]
        dynamodb.client.update_table(
            TableName=TABLE,
            AttributeDefinitions=definition["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-accountable"}}],
        )
        try:
            with pytest.raises(SystemExit, match="by-accountable is missing"):
                index(dynamodb)
            assert dynamodb.rows(ACCESS_TABLE) == []
        finally:
            dynamodb.client.delete_table(TableName=TABLE)
            dynamodb.reset()

    def test_index_that_is_being_filled_is_not_an_empty_answer(
        self, strict: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """The answer is 503 until DynamoDB has filled the index."""
        dynamodb.faults.append(
            Refusal("Query", "ValidationException", members={"message": BACKFILLING})
        )
        answer = show(strict, ada, user(web, "grace"))
        assert (answer.status, answer.reason) == (503, "store_unavailable")

    def test_marker_of_an_earlier_format_does_not_count(self, dynamodb: DynamoDb) -> None:
        """A version that indexes more rows asks for the command again."""
        holdings = Holdings(
            dynamodb.client, access_table=ACCESS_TABLE, runs_table=TABLE, now=lambda: 0
        )
        index(dynamodb)
        assert holdings.are_complete()
        [marker] = dynamodb.rows(ACCESS_TABLE)
        dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=marker | {"format": {"N": "0"}})
        assert not holdings.are_complete()


def test_principal_and_its_path_are_one_to_one(web: Web) -> None:
    """The helper of these tests encodes all that a path cannot hold."""
    assert path_of(Principal("user", web.url, "a/b#c")).count("/") == 3
