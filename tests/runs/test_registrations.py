"""A service account acts in each project for one person at a time, and where its person says so."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from byline.identity.caller import Principal
from byline.refresh.runner_rows import RunnerRow, runner_item
from byline.tables.rows import Item, expiry
from serve_runs.access.control import acts_for_key, registration_keys
from serve_runs.access.standing import ActsFor, represented
from serve_runs.service_accounts.views import listed_key
from tests.runs.access_rows import (
    ACCOUNTS,
    PROJECT,
    RUNS,
    AccessRows,
    creation_status,
    register,
    token_of,
)
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, DynamoDb

GEMINI = "/v1/projects/gemini"


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`: `lin` is an editor of `apollo`, `tom` of `gemini`."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "lin")
    rows.grant("project:editor", "tom", project="gemini")
    return rows


@pytest.fixture
def lin(web: Web, access_rows: AccessRows) -> Credential:
    """An editor of `apollo`."""
    del access_rows
    return web.browser("lin")


@pytest.fixture
def tom(web: Web, access_rows: AccessRows) -> Credential:
    """An editor of `gemini`."""
    del access_rows
    return web.browser("tom")


@pytest.fixture
def robot(web: Web) -> Credential:
    """A service account without a role of its own."""
    return web.bearer("robot", client="robot")


def register_in(
    api: RunsApi, project: str, by: Credential, account: Credential, **body: Any
) -> Answer:
    """Register `account` in a project."""
    document = {"token": token_of(account), **body}
    return api.call("POST", f"{project}/service-accounts", by=by, document=document)


def person_of(api: RunsApi, project: str, account: Credential) -> Any:
    """The subject of the person of a run that `account` creates in a project."""
    run = api.call("POST", f"{project}/runs", by=account).json
    return run["on_behalf_of"] and run["on_behalf_of"]["user"]["id"]["subject"]


def ahead(**time: int) -> str:
    """A time from now on, RFC 3339."""
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


def end(dynamodb: DynamoDb, account: str, subject: str, web: Web, *, project: str) -> None:
    """Move the end of a registration into the past."""
    application = Principal("application", web.url, subject)
    for key in (acts_for_key(application, project), listed_key(project, account)):
        dynamodb.client.update_item(
            TableName=ACCESS_TABLE,
            Key=key,
            UpdateExpression="SET expires_at = :past",
            ConditionExpression="attribute_exists(expires_at)",
            ExpressionAttributeValues={":past": {"N": "1000000000"}},
        )
    dynamodb.calls.clear()


def test_service_account_acts_for_another_person_in_each_project(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential
) -> None:
    """Each project has a registration of its own, and `whoami` shows both."""
    first = register(api, lin, robot)
    second = register_in(api, GEMINI, tom, robot, role="project:viewer")
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]
    assert person_of(api, PROJECT, robot) == "lin"
    assert api.call("POST", f"{GEMINI}/runs", by=robot).status == 403
    register_in(api, GEMINI, tom, robot)
    assert person_of(api, GEMINI, robot) == "tom"
    shown = api.call("GET", "/v1/whoami", by=robot).json
    assert [
        (one["project"], one["acts_for"]["user"]["id"]["subject"], one["expires_at"])
        for one in shown["registrations"]
    ] == [("apollo", "lin", None), ("gemini", "tom", None)]
    assert shown["on_behalf_of"] is None


def test_registration_takes_no_right_away_elsewhere(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows
) -> None:
    """An account with a role in another project keeps it, whoever registers it here."""
    access_rows.grant("project:editor", "robot", kind="application", project="gemini")
    assert register(api, lin, robot).status == 201
    assert person_of(api, GEMINI, robot) is None
    access_rows.revoke("project:editor", "lin")
    assert api.call("POST", f"{GEMINI}/runs", by=robot).status == 201
    assert creation_status(api, robot) == 404


def test_registration_does_not_tie_the_account_elsewhere(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential
) -> None:
    """Who registered an account in one project keeps nobody from registering it in another."""
    register(api, lin, robot)
    assert register_in(api, GEMINI, tom, robot).status == 201
    assert person_of(api, PROJECT, robot) == "lin"


def test_deletion_in_one_project_keeps_the_other_registration(
    api: RunsApi, lin: Credential, tom: Credential, robot: Credential
) -> None:
    """The registration of the other project goes on."""
    account = register(api, lin, robot).json["id"]
    register_in(api, GEMINI, tom, robot)
    assert api.call("DELETE", f"{ACCOUNTS}/{account}", by=lin).status == 204
    assert creation_status(api, robot) == 404
    assert person_of(api, GEMINI, robot) == "tom"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_service_account_reads_and_deletes_its_own_registration(
    api: RunsApi, lin: Credential, robot: Credential, access_rows: AccessRows, method: str
) -> None:
    """It needs neither a role nor its person's right, and is recorded as acting for itself."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    access_rows.revoke("project:editor", "lin")
    assert api.call(method, path, by=robot).status == (200 if method == "GET" else 204)
    if method == "DELETE":
        [record] = access_rows.records("delete_service_account")
        assert record["answerable"]["S"].startswith("application:")
        assert "on_behalf_of" not in record
        assert api.call("GET", "/v1/whoami", by=robot).json["registrations"] == []


def test_service_account_cannot_delete_the_registration_of_another(
    api: RunsApi, lin: Credential, robot: Credential, web: Web
) -> None:
    """Another account is answered as for one that does not exist."""
    path = f"{ACCOUNTS}/{register(api, lin, robot).json['id']}"
    assert api.call("DELETE", path, by=web.bearer("other", client="other")).status == 404


def test_application_in_project_admins_is_registered_by_admins_alone(
    api: RunsApi, lin: Credential, nightly: Credential, ada: Credential, dynamodb: DynamoDb
) -> None:
    """An editor that saw its token would else take its rights in the project away."""
    writes = len(dynamodb.writes())
    refused = register(api, lin, nightly)
    assert (refused.status, refused.reason) == (403, "forbidden")
    assert len(dynamodb.writes()) == writes
    assert register(api, ada, nightly).status == 201


class TestEnds:
    """Registrations that end by themselves."""

    def test_registration_has_its_end(
        self, api: RunsApi, lin: Credential, robot: Credential
    ) -> None:
        """The end is shown in whole seconds, and a registration without one removes it."""
        end_at = "2099-01-01T00:00:00Z"
        assert register(api, lin, robot, expires_at=end_at).reason == "invalid_body"
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        answer = register(api, lin, robot, expires_at=until.isoformat())
        expected = until.isoformat()[:-6] + ".000Z"
        assert (answer.status, answer.json["expires_at"]) == (201, expected)
        [shown] = api.call("GET", "/v1/whoami", by=robot).json["registrations"]
        assert shown["expires_at"] == expected
        again = register(api, lin, robot)
        assert (again.status, again.json["expires_at"]) == (200, None)

    @pytest.mark.parametrize(
        ("expires_at", "status"),
        [
            (timedelta(days=366, minutes=-5), 201),
            (timedelta(days=366, minutes=5), 400),
            (timedelta(minutes=-1), 400),
            ("2026-13-01T00:00:00Z", 400),
            ("2030-01-01T00:00:00", 400),
            (1_900_000_000, 400),
        ],
    )
    def test_end_is_bounded(
        self, api: RunsApi, lin: Credential, robot: Credential, expires_at: Any, status: int
    ) -> None:
        """An end is a time with its offset, in the future, and at most 366 days ahead."""
        if isinstance(expires_at, timedelta):  # the id of a test is the same in all processes
            expires_at = (datetime.now(UTC) + expires_at).isoformat()
        assert register(api, lin, robot, expires_at=expires_at).status == status

    def test_ended_registration_counts_as_absent(
        self, api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """It gives no right, is in no list, and can neither be read nor deleted."""
        account = register(api, lin, robot, expires_at=ahead(hours=1)).json["id"]
        assert creation_status(api, robot) == 201
        end(dynamodb, account, "robot", web, project="apollo")
        assert creation_status(api, robot) == 404
        assert api.call("GET", "/v1/whoami", by=robot).json["registrations"] == []
        assert api.call("GET", ACCOUNTS, by=lin).json["service_accounts"] == []
        for method in ("GET", "DELETE"):
            assert api.call(method, f"{ACCOUNTS}/{account}", by=lin).status == 404

    @pytest.mark.parametrize("is_of_project", [False, True])
    def test_ended_registration_is_replaced_whatever_row_is_left(
        self,
        api: RunsApi,
        lin: Credential,
        robot: Credential,
        dynamodb: DynamoDb,
        web: Web,
        *,
        is_of_project: bool,
    ) -> None:
        """DynamoDB deletes the two rows of an ended registration one after the other."""
        account = register(api, lin, robot, expires_at=ahead(hours=1)).json["id"]
        end(dynamodb, account, "robot", web, project="apollo")
        application = Principal("application", web.url, "robot")
        by_application, by_project = (
            acts_for_key(application, "apollo"),
            listed_key("apollo", account),
        )
        gone = by_project if is_of_project else by_application
        dynamodb.client.delete_item(TableName=ACCESS_TABLE, Key=gone)
        assert register(api, lin, robot).status == 201
        assert creation_status(api, robot) == 201

    def test_ended_registration_leaves_the_account_to_others(
        self,
        api: RunsApi,
        lin: Credential,
        robot: Credential,
        dynamodb: DynamoDb,
        web: Web,
        access_rows: AccessRows,
    ) -> None:
        """Another person registers the account, which then acts for them."""
        access_rows.grant("project:editor", "tom")
        account = register(api, lin, robot, expires_at=ahead(hours=1)).json["id"]
        assert register(api, web.browser("tom"), robot).reason == "already_registered"
        end(dynamodb, account, "robot", web, project="apollo")
        assert register(api, web.browser("tom"), robot).status == 201
        assert person_of(api, PROJECT, robot) == "tom"

    def test_last_second_counts_and_the_end_does_not(self, web: Web) -> None:
        """A registration counts up to the second before its end."""
        lin = Principal("user", web.url, "lin")
        row: Item = {
            "person": {"S": lin.text},
            "identity": {"S": "{}"},
            "role": {"S": "project:viewer"},
            **expiry(1, now=0),
        }
        rows = {"acts-for#apollo": row}
        at_end = int(row["expires_at"]["N"])
        viewer = ActsFor(lin, "{}", frozenset({"project:viewer"}))
        assert represented(None, rows, ["apollo"], now=at_end - 1) == {"apollo": viewer}
        assert represented(None, rows, ["apollo"], now=at_end) == {}


class TestEarlierVersion:
    """A registration that an earlier version wrote, with one row for all projects."""

    @pytest.fixture
    def account(
        self, api: RunsApi, lin: Credential, robot: Credential, dynamodb: DynamoDb, web: Web
    ) -> str:
        """The id of such a registration, by `lin` in `apollo`."""
        registered = register(api, lin, robot).json["id"]
        application = Principal("application", web.url, "robot")
        new, old = registration_keys(application, ["apollo"])
        before = dynamodb.client.get_item(TableName=ACCESS_TABLE, Key=new)["Item"]
        for key in (new, listed_key("apollo", registered)):
            dynamodb.client.delete_item(TableName=ACCESS_TABLE, Key=key)
        account_id = "onouhmn4ymflawfjjvb67qxxws"
        row = before | {"id": {"S": account_id}}
        for key in (old, listed_key("apollo", account_id)):
            dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=row | key)
        return account_id

    def test_it_counts_in_its_project(
        self, api: RunsApi, robot: Credential, account: str, access_rows: AccessRows
    ) -> None:
        """It gives its rights there, is shown, and takes none elsewhere."""
        assert person_of(api, PROJECT, robot) == "lin"
        [shown] = api.call("GET", "/v1/whoami", by=robot).json["registrations"]
        assert (shown["project"], shown["id"]) == ("apollo", account)
        access_rows.grant("project:editor", "robot", kind="application", project="gemini")
        assert person_of(api, GEMINI, robot) is None

    def test_it_is_changed_and_deleted(
        self, api: RunsApi, lin: Credential, robot: Credential, account: str, dynamodb: DynamoDb
    ) -> None:
        """It keeps its id until its deletion, which removes both of its rows."""
        changed = register(api, lin, robot, role="project:viewer")
        assert (changed.status, changed.json["id"]) == (200, account)
        assert creation_status(api, robot) == 403
        assert api.call("DELETE", f"{ACCOUNTS}/{account}", by=robot).status == 204
        left = [row["entry"]["S"] for row in dynamodb.rows(ACCESS_TABLE)]
        assert not [entry for entry in left if entry.startswith(("acts-for", "service-account"))]
        assert register(api, lin, robot).json["id"] != account

    def test_it_refuses_another_person_in_its_project_alone(
        self, api: RunsApi, tom: Credential, robot: Credential, account: str, web: Web,
        access_rows: AccessRows,
    ) -> None:  # fmt: skip
        """In another project the account is free."""
        del account
        assert register_in(api, GEMINI, tom, robot).status == 201
        access_rows.grant("project:editor", "eve")
        assert register(api, web.browser("eve"), robot).reason == "already_registered"


def test_pages_of_whoami_have_every_registration_once(
    api: RunsApi, robot: Credential, web: Web, access_rows: AccessRows
) -> None:
    """A service account of many projects reads them all; no page names one person of all."""
    projects = [f"p-{number}" for number in range(3)]
    for project in projects:
        access_rows.grant("project:editor", "lin", project=project)
        answer = register_in(api, f"/v1/projects/{project}", web.browser("lin"), robot)
        assert answer.status == 201
    found: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    while True:
        page = api.call("GET", "/v1/whoami", by=robot, query=query).json
        found += [one["project"] for one in page["registrations"]]
        if page["next_cursor"] is None:
            break
        assert page["on_behalf_of"] is None
        query["cursor"] = page["next_cursor"]
    assert found == projects
    other = web.bearer("other", client="other")
    answer = api.call("GET", "/v1/whoami", by=other, query=query)
    assert answer.reason == "invalid_cursor"


class TestOwnRight:
    """What a runner does by its own right is its own, whoever registered its account."""

    @pytest.fixture
    def gpu(
        self, api: RunsApi, web: Web, dynamodb: DynamoDb, lin: Credential, access_rows: AccessRows
    ) -> Credential:
        """The account of the runner `gpu-1` of `apollo`. `lin` registered it there."""
        row = RunnerRow(
            project="apollo",
            runner="gpu-1",
            client="scheduler",
            token="-",
            revision="r",
            created_at="2026-11-02T08:00:00.000Z",
            updated_at="2026-11-02T08:00:00.000Z",
            subject="gpu",
            subject_issuer=web.url,
        )
        dynamodb.client.put_item(TableName=RUNNERS_TABLE, Item=runner_item(row))
        gpu = web.bearer("gpu", client="gpu")
        assert register(api, lin, gpu, role="project:admin").status == 201
        access_rows.grant("project:admin", "lin")
        return gpu

    @pytest.mark.parametrize("has_role", [True, False])
    def test_runner_message_is_the_runners(
        self, api: RunsApi, gpu: Credential, ada: Credential, access_rows: AccessRows,
        *, has_role: bool,
    ) -> None:  # fmt: skip
        """It names nobody as its person, whatever the person's roles are."""
        run = api.create(ada, runner="gpu-1")["id"]
        if not has_role:
            access_rows.revoke("project:editor", "lin")
            access_rows.revoke("project:admin", "lin")
        message = {"role": "runner", "content": "done"}
        answer = api.call("POST", f"{RUNS}/{run}/messages", by=gpu, document=message)
        assert (answer.status, answer.json["on_behalf_of"]) == (201, None)

    def test_action_by_a_role_is_for_the_person(self, api: RunsApi, gpu: Credential) -> None:
        """A run that the account creates by its registration names the person."""
        assert person_of(api, PROJECT, gpu) == "lin"

    def test_account_whose_person_lost_the_role_speaks_for_nobody(
        self, api: RunsApi, gpu: Credential, ada: Credential, access_rows: AccessRows
    ) -> None:
        """Nothing but the runner's own rights is left, and these name no person."""
        run = api.create(ada, runner="gpu-1")["id"]
        for role in ("project:editor", "project:admin"):
            access_rows.revoke(role, "lin")
        path = f"{RUNS}/{run}/messages"
        for role, status in (("user", 403), ("runner", 201)):
            document = {"role": role, "content": "x"}
            answer = api.call("POST", path, by=gpu, document=document)
            assert answer.status == status
        assert creation_status(api, gpu) == 404
