"""A deletion beside other requests leaves nobody a right, also in a project made again."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serve_runs.projects.contents import PAGE
from serve_runs.projects.deletion import SETTLING_SECONDS, STEPS
from tests.runs.access_rows import AccessRows, register
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, DynamoDb, Meanwhile
from tests.runs.test_listing import put_all
from tests.runs.test_people import grant
from tests.runs.test_project_life import APOLLO, create, delete, left_of, settle, with_services
from tests.runs.test_projects import show

RIGHTS: dict[str, tuple[str, dict[str, Any]]] = {
    "admin": ("role-bindings", {"role": "project:admin", "subject": "katherine"}),
    "reader": ("role-bindings", {"role": "credential:token-reader", "subject": "katherine"}),
    "agent": ("agents/helper", {"subject": "helper", "roles": ["project:admin"]}),
}


@pytest.fixture
def open_api(start_api: Callable[..., RunsApi], dynamodb: DynamoDb) -> Iterator[RunsApi]:
    """Everyone creates projects; Ada and Margaret administer all."""
    settings = {"PROJECT_ADMINS": "ada,margaret", "PROJECT_CREATION": "anyone"}
    yield from with_services(lambda: start_api(**settings), dynamodb)


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


class TestLastWrite:
    """The tombstone and the end of the deleter's roles are one write."""

    def test_deleter_has_no_right_in_the_next_project_wherever_its_request_stopped(
        self, open_api: RunsApi, ada: Credential, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """Either the name is taken still, or the deleter does not see the new project."""
        deaths = made = 0
        is_deleted = False
        while not is_deleted:
            dynamodb.reset()
            create(open_api, grace)
            grant(open_api, grace, "apollo", "grace", "credential:token-reader")
            dynamodb.remaining = deaths
            is_deleted = delete(open_api, grace).status == 200
            dynamodb.remaining = None
            if create(open_api, ada).status == 201:
                made += 1
                assert show(open_api, grace, "apollo").status == 404
                assert delete(open_api, grace).status == 404
            deaths += 1
        assert made

    def test_admin_of_all_projects_creates_again_wherever_its_deletion_stopped(
        self, open_api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """No role of its own is in its way."""
        deaths = 0
        is_deleted = False
        while not is_deleted:
            dynamodb.reset()
            create(open_api, ada)
            dynamodb.remaining = deaths
            is_deleted = delete(open_api, ada).status == 200
            dynamodb.remaining = None
            assert create(open_api, ada).status in {200, 201}
            deaths += 1

    def test_every_role_of_the_deleter_has_its_record(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb, access_rows: AccessRows
    ) -> None:
        """They end together."""
        create(open_api, grace)
        grant(open_api, grace, "apollo", "grace", "project:viewer")
        answer = delete(open_api, grace)
        assert (answer.status, answer.json["ended"]["roles"]) == (200, 2)
        assert left_of(dynamodb) == []
        assert len(access_rows.records("revoke_role")) == 2

    def test_second_deletion_at_once_waits_for_the_first(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """It finds nothing, because the first has just ended a right whose holder may act yet."""
        create(open_api, grace)
        grant(open_api, grace, "apollo", "katherine", "project:admin")
        others: list[Answer] = []
        dynamodb.faults.append(
            Meanwhile("Query", lambda: others.append(delete(open_api, grace, live_runs="cancel")))
        )
        answer = delete(open_api, grace, live_runs="cancel")
        assert others[0].json["retry_after_seconds"] == SETTLING_SECONDS
        assert (answer.status, answer.json["complete"]) == (202, False)
        assert delete(open_api, grace).json["retry_after_seconds"] == 10
        settle(dynamodb)
        assert delete(open_api, grace).status == 200


class TestNothingLeft:
    """A deleted project is created again when nothing of it is left."""

    def test_role_that_an_earlier_version_left_refuses_the_new_project(
        self,
        open_api: RunsApi,
        ada: Credential,
        grace: Credential,
        dynamodb: DynamoDb,
        access_rows: AccessRows,
    ) -> None:
        """Until `DELETE`, sent again, has ended it and its requests are over."""
        create(open_api, grace)
        delete(open_api, grace)
        access_rows.grant("project:admin", "grace")
        answer = create(open_api, ada)
        assert (answer.status, answer.reason) == (409, "project_exists")
        assert "roles" in answer.json["detail"]
        assert delete(open_api, ada).json["retry_after_seconds"] == SETTLING_SECONDS
        assert "under way" in create(open_api, ada).json["detail"]
        settle(dynamodb)
        assert delete(open_api, ada).status == 200
        assert create(open_api, ada).status == 201
        assert show(open_api, grace, "apollo").status == 404

    def test_runner_of_the_deleted_project_refuses_the_new_one(
        self, open_api: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """The detail names it, and `DELETE` ends it."""
        create(open_api, grace)
        delete(open_api, grace)
        runner = {"client": "scheduler"}
        put = open_api.call("PUT", f"{APOLLO}/runners/gpu", by=ada, document=runner)
        assert put.status == 201
        answer = create(open_api, ada)
        assert (answer.status, answer.reason) == (409, "project_exists")
        assert "runners" in answer.json["detail"]
        assert delete(open_api, ada).status == 200
        assert create(open_api, ada).status == 201


class TestGivenMeanwhile:
    """A right that is given beside the end of a deletion is found, or is not given."""

    @pytest.mark.parametrize("right", RIGHTS)
    def test_right_that_lands_after_the_last_list_keeps_the_project(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb, right: str
    ) -> None:
        """The next request finds it, ends it, and waits for its holder's requests."""
        path, document = RIGHTS[right]
        create(open_api, grace)
        given: list[Answer] = []

        def give() -> None:
            given.append(open_api.call("PUT", f"{APOLLO}/{path}", by=grace, document=document))

        # The first transaction begins the deletion, and the second one ends it.
        dynamodb.faults += [
            Meanwhile("TransactWriteItems", lambda: None),
            Meanwhile("TransactWriteItems", give),
        ]
        answer = delete(open_api, grace)
        assert given[0].status == 201
        assert (answer.status, answer.json["complete"]) == (202, False)
        assert delete(open_api, grace).json["retry_after_seconds"] == SETTLING_SECONDS
        settle(dynamodb)
        assert delete(open_api, grace).status == 200
        assert left_of(dynamodb) == []

    @pytest.mark.parametrize("right", RIGHTS)
    def test_right_in_a_deleted_project_is_not_given(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb, right: str
    ) -> None:
        """Its giver had the right to give it when its request began."""
        path, document = RIGHTS[right]
        create(open_api, grace)
        dynamodb.faults.append(Meanwhile("TransactWriteItems", lambda: delete(open_api, grace)))
        answer = open_api.call("PUT", f"{APOLLO}/{path}", by=grace, document=document)
        assert (answer.status, answer.reason) == (404, "not_found")
        assert left_of(dynamodb) == []

    def test_service_account_in_a_deleted_project_is_not_registered(
        self,
        open_api: RunsApi,
        grace: Credential,
        nightly: Credential,
        dynamodb: DynamoDb,
    ) -> None:
        """Its registration would be a right in the next project of that name."""
        create(open_api, grace)
        dynamodb.faults.append(Meanwhile("TransactWriteItems", lambda: delete(open_api, grace)))
        assert register(open_api, grace, nightly).reason == "not_found"
        assert left_of(dynamodb) == []


class TestFormerMembers:
    """The rows of principals whose roles were revoked stay, and do not keep the project."""

    def test_project_with_thousands_of_former_members_is_deleted(
        self, open_api: RunsApi, ada: Credential, grace: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """In one request, because nothing ends."""
        create(open_api, grace)
        rows: list[Any] = [
            {
                "scope": {"S": "project#apollo"},
                "entry": {"S": f"roles#user:{web.url}#former-{number:04}"},
            }
            for number in range(PAGE * STEPS + 1)
        ]
        put_all(dynamodb, rows, table=ACCESS_TABLE)
        assert delete(open_api, grace).status == 200
        assert create(open_api, ada).status == 201


class TestBesideOthers:
    """A deletion beside runs, other admins and a new project of that name."""

    def test_run_that_is_created_after_the_count_is_not_cancelled(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """The request did not say that runs are to be cancelled."""
        create(open_api, grace)
        runs: list[Any] = []
        begin = Meanwhile("TransactWriteItems", lambda: runs.append(open_api.create(grace)))
        dynamodb.faults.append(begin)
        answer = delete(open_api, grace)
        assert (answer.status, answer.reason) == (409, "runs_live")
        assert answer.json["live_runs"] == 1
        run = open_api.call("GET", f"{APOLLO}/runs/{runs[0]['id']}", by=grace)
        assert run.json["status"] == "pending"
        assert delete(open_api, grace, live_runs="cancel").status == 200

    def test_each_admin_that_deletes_has_a_record(
        self,
        open_api: RunsApi,
        grace: Credential,
        web: Web,
        dynamodb: DynamoDb,
        access_rows: AccessRows,
    ) -> None:
        """Once, however often it sends the request."""
        katherine = web.browser("katherine")
        create(open_api, grace)
        grant(open_api, grace, "apollo", "katherine", "project:admin")
        delete(open_api, grace)
        grant(open_api, grace, "apollo", "katherine", "project:admin")
        for _ in range(2):
            assert delete(open_api, katherine).status == 202
        settle(dynamodb)
        assert delete(open_api, katherine).status == 200
        records = access_rows.records("delete_project")
        assert len({record["principal"]["S"] for record in records}) == len(records) == 2

    def test_project_that_is_created_again_meanwhile_keeps_all_it_has(
        self, open_api: RunsApi, ada: Credential, grace: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """The deletion of the former project stops where it sees the new one."""
        margaret = web.browser("margaret")
        create(open_api, grace)
        delete(open_api, grace)
        made: list[Answer] = []
        dynamodb.faults.append(Meanwhile("Query", lambda: made.append(create(open_api, margaret))))
        answer = delete(open_api, ada, live_runs="cancel")
        assert made[0].status == 201
        assert (answer.status, answer.reason) == (409, "project_exists")
        shown = show(open_api, margaret, "apollo").json
        assert (shown["roles"], shown["deleted_at"]) == (["project:admin"], None)

    def test_runner_whose_token_is_unreadable_does_not_keep_the_others(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """The answer is 202 until an operator mends the row, and the rest goes."""
        create(open_api, grace)
        for runner, client in (("cpu", "scheduler"), ("gpu", "renderer")):
            document = {"client": client}
            path = f"{APOLLO}/runners/{runner}"
            assert open_api.call("PUT", path, by=grace, document=document).status == 201
        [token] = [
            row
            for row in dynamodb.rows(RUNNERS_TABLE)
            if row["project"]["S"] == "tokens#apollo" and "scheduler" in str(row)
        ]
        broken = {name: token[name] for name in ("project", "runner")}
        dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=broken)
        answer = delete(open_api, grace)
        assert (answer.status, answer.json["complete"]) == (202, False)
        assert answer.json["ended"]["runners"] == 1
        dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=token)
        assert delete(open_api, grace).status == 200
