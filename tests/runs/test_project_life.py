"""A project is created, and deleted with all that it has, whenever a request stops."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from byline.aws import secrets_manager, sqs
from serve_runs.access.projects import project_key
from serve_runs.projects.deletion import SETTLING_SECONDS, STEPS
from tests.refresh.world import SECRETS
from tests.runs.access_rows import AccessRows, register
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import (
    ACCESS_TABLE,
    RUNNERS_TABLE,
    WRITES,
    DynamoDb,
    LostAnswer,
    Meanwhile,
)
from tests.runs.test_listing import put_all
from tests.runs.test_people import grant
from tests.runs.test_projects import names, show

APOLLO = "/v1/projects/apollo"
LONG_AGO = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def strict(start_api: Callable[..., RunsApi], dynamodb: DynamoDb) -> Iterator[RunsApi]:
    """Only Ada administers every project, and only she creates one."""
    yield from with_services(lambda: start_api(PROJECT_ADMINS="ada"), dynamodb)


@pytest.fixture
def open_api(start_api: Callable[..., RunsApi], dynamodb: DynamoDb) -> Iterator[RunsApi]:
    """Everyone creates projects; Ada administers all."""
    settings = {"PROJECT_ADMINS": "ada", "PROJECT_CREATION": "anyone"}
    yield from with_services(lambda: start_api(**settings), dynamodb)


def with_services(start: Callable[[], RunsApi], dynamodb: DynamoDb) -> Iterator[RunsApi]:
    """An API whose Secrets Manager and queue are at the address of its tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", dynamodb.url)
        secrets_manager.cache_clear()
        sqs.cache_clear()
        yield start()
    secrets_manager.cache_clear()
    sqs.cache_clear()


@pytest.fixture
def access_rows(dynamodb: DynamoDb, web: Web) -> AccessRows:
    """The rows of `AccessTable`."""
    return AccessRows(dynamodb, web)


def create(api: RunsApi, by: Credential, name: str = "apollo") -> Answer:
    """Create a project."""
    return api.call("POST", "/v1/projects", by=by, document={"name": name})


def delete(api: RunsApi, by: Credential, name: str = "apollo", **query: str) -> Answer:
    """Delete a project."""
    return api.call("DELETE", f"/v1/projects/{name}", by=by, query=query)


def settle(dynamodb: DynamoDb) -> None:
    """Let the time pass in which requests may be under way."""
    dynamodb.client.update_item(
        TableName=ACCESS_TABLE,
        Key=project_key("apollo"),
        UpdateExpression="SET rights_ended_at = :long_ago",
        ConditionExpression="attribute_exists(rights_ended_at)",
        ExpressionAttributeValues={":long_ago": {"S": LONG_AGO}},
    )


def fill(api: RunsApi, by: Credential, nightly: Credential, grace: Credential) -> None:
    """Give a project of `by` one thing of each kind, and two live runs."""
    for subject, role in (("grace", "project:editor"), ("margaret", "project:admin")):
        grant(api, by, "apollo", subject, role)
    assert register(api, grace, nightly).status == 201
    documents: dict[str, Any] = {
        "agents/helper": {"subject": "helper", "roles": ["project:editor"]},
        "runners/gpu": {"client": "scheduler"},
        "runners/cpu": {"client": "scheduler"},
        "credentials/github": {"provider": "github", "token": "hush-hush"},
    }
    for path, document in documents.items():
        answer = api.call("PUT", f"{APOLLO}/{path}", by=by, document=document)
        assert answer.status == 201, answer.body
    members = {"add": [{"kind": "Runner", "key": "gpu"}]}
    change = api.call("POST", f"{APOLLO}/apply-sets/team/members", by=by, document=members)
    assert change.status == 200
    for started in (False, True):
        run = api.create(grace)
        if started:
            api.call("POST", f"{APOLLO}/runs/{run['id']}/start", by=grace)


def left_of(dynamodb: DynamoDb) -> list[str]:
    """The keys of rows that give a right or a token in apollo."""
    found = []
    for row in dynamodb.rows(ACCESS_TABLE):
        scope, entry = row["scope"]["S"], row["entry"]["S"]
        is_of = scope == "project#apollo" or entry.endswith("#apollo")
        is_right = entry != "project" and not (entry.startswith("roles#") and "roles" not in row)
        if is_of and is_right:
            found.append(entry)
    found += [
        row["runner"]["S"]
        for row in dynamodb.rows(RUNNERS_TABLE)
        if row["project"]["S"] in {"apollo", "tokens#apollo"}
    ]
    return found + [row["id"]["S"] for row in dynamodb.rows() if "live" in row]


def secret_states() -> set[bool]:
    """Whether the secrets of credentials are deleted."""
    listed = secrets_manager().list_secrets(IncludePlannedDeletion=True)["SecretList"]
    prefix = f"{SECRETS.prefix}/credentials/apollo/"
    return {"DeletedDate" in each for each in listed if each["Name"].startswith(prefix)}


class TestCreation:
    """Who creates a project is its admin."""

    def test_creator_becomes_admin_with_two_records(
        self, open_api: RunsApi, grace: Credential, access_rows: AccessRows
    ) -> None:
        """The same request again changes nothing."""
        first, again = create(open_api, grace), create(open_api, grace)
        assert (first.status, again.status) == (201, 200)
        assert first.json == again.json == show(open_api, grace, "apollo").json
        assert first.headers["location"] == APOLLO
        assert first.json["roles"] == ["project:admin"]
        assert first.json["created_by"]["subject"] == "grace"
        assert len(access_rows.records("create_project")) == 1
        assert len(access_rows.records("grant_role")) == 1
        assert names(open_api, grace) == {"apollo"}

    def test_others_cannot_take_the_name(
        self, open_api: RunsApi, ada: Credential, grace: Credential, web: Web
    ) -> None:
        """Whether a request or a first run created it, also for admins of all projects."""
        margaret = web.browser("margaret")
        create(open_api, grace)
        open_api.create(margaret, "gemini")
        for name, other in (("apollo", margaret), ("gemini", grace), ("apollo", ada)):
            answer = create(open_api, other, name)
            assert (answer.status, answer.reason) == (409, "project_exists")
        assert create(open_api, margaret, "gemini").status == 200

    def test_only_admins_create_where_policy_says_so(
        self, strict: RunsApi, ada: Credential, grace: Credential, access_rows: AccessRows
    ) -> None:
        """The refusal names the permission, and writes nothing."""
        answer = create(strict, grace)
        assert (answer.status, answer.reason) == (403, "forbidden")
        assert answer.json["permission"] == "create_project"
        assert access_rows.rows() == []
        assert create(strict, ada).status == 201
        assert names(strict, ada) == {"apollo"}

    def test_callers_who_act_for_others_create_nothing(
        self, start_api: Callable[..., RunsApi], web: Web
    ) -> None:
        """Neither an agent with the token of a person nor an anonymous caller."""
        api = start_api(PROJECT_ADMINS="ada", PROJECT_CREATION="anyone", ANONYMOUS_CALLERS="allow")
        agent = web.bearer("grace", client="helper", act={"sub": "helper", "client_id": "helper"})
        assert create(api, agent).reason == "forbidden"
        assert create(api, NO_CREDENTIAL).reason == "no_credentials"

    def test_stopped_creation_leaves_all_or_nothing(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb, access_rows: AccessRows
    ) -> None:
        """And the repetition ends well, whatever the last call was."""
        deaths = 0
        while True:
            dynamodb.reset()
            dynamodb.remaining = deaths
            first = create(open_api, grace)
            dynamodb.remaining = None
            assert create(open_api, grace).status in {200, 201}
            assert len(access_rows.records("create_project")) == 1
            if first.status == 201:
                break
            deaths += 1
        assert deaths > 5

    def test_two_creators_at_once_have_one_admin(
        self, open_api: RunsApi, grace: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """The second one finds the name taken."""
        margaret = web.browser("margaret")
        dynamodb.faults.append(Meanwhile("TransactWriteItems", lambda: create(open_api, margaret)))
        assert create(open_api, grace).reason == "project_exists"
        assert names(open_api, margaret) == {"apollo"}
        dynamodb.faults.append(LostAnswer("TransactWriteItems"))
        assert create(open_api, grace, "gemini").status == 201


class TestDeletion:
    """All that a project has goes with it."""

    def test_project_without_anything_is_deleted_at_once(
        self, open_api: RunsApi, grace: Credential, access_rows: AccessRows
    ) -> None:
        """Its creator does not find it any more, and cannot have the name again."""
        create(open_api, grace)
        answer = delete(open_api, grace)
        assert (answer.status, answer.json["complete"]) == (200, True)
        assert show(open_api, grace, "apollo").status == 404
        assert delete(open_api, grace).status == 404
        assert create(open_api, grace).reason == "project_exists"
        assert open_api.call("POST", f"{APOLLO}/runs", by=grace).status == 404
        assert len(access_rows.records("delete_project")) == 1

    def test_everything_goes_and_the_audit_trail_stays(
        self,
        open_api: RunsApi,
        ada: Credential,
        grace: Credential,
        nightly: Credential,
        web: Web,
        dynamodb: DynamoDb,
        access_rows: AccessRows,
    ) -> None:
        """Rights end first. The project is deleted when no request can be under way any more."""
        owner = web.browser("katherine")
        create(open_api, owner)
        fill(open_api, owner, nightly, grace)
        first = delete(open_api, owner, live_runs="cancel")
        assert (first.status, first.json["complete"]) == (202, False)
        assert first.json["retry_after_seconds"] == SETTLING_SECONDS
        assert first.json["ended"] == {
            "roles": 2,
            "agents": 1,
            "service_accounts": 1,
            "runs": 2,
            "runners": 2,
            "credentials": 1,
            "apply_sets": 1,
        }
        [kept] = left_of(dynamodb)
        assert kept.endswith("katherine")
        assert delete(open_api, owner).json["retry_after_seconds"] == 10
        settle(dynamodb)
        last = delete(open_api, owner)
        assert (last.status, last.json["ended"]["roles"]) == (200, 1)
        assert left_of(dynamodb) == []
        assert secret_states() == {True}
        retired = [row for row in dynamodb.rows(RUNNERS_TABLE) if "retired_at" in row]
        assert len(retired) == 1
        actions = ("delete_runner", "delete_credential", "cancel_run", "revoke_role")
        assert [len(access_rows.records(action)) for action in actions] == [2, 1, 2, 3]
        assert show(open_api, ada, "apollo").json["deleted_at"] is not None
        feed = open_api.call("GET", f"{APOLLO}/audit", by=ada, query={"limit": "1"})
        assert feed.json["records"][0]["action"] == "revoke_role"

    def test_live_runs_are_named_and_nothing_is_changed(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """Without a word about them, the project stays as it is."""
        create(open_api, grace)
        runs = [open_api.create(grace) for _ in range(3)]
        open_api.call("POST", f"{APOLLO}/runs/{runs[0]['id']}/start", by=grace)
        before = dynamodb.rows(ACCESS_TABLE)
        answer = delete(open_api, grace)
        assert (answer.status, answer.reason) == (409, "runs_live")
        assert answer.json["live_runs"] == 3
        assert dynamodb.rows(ACCESS_TABLE) == before
        for run in runs:
            open_api.call("POST", f"{APOLLO}/runs/{run['id']}/cancel", by=grace)
        assert delete(open_api, grace).status == 200

    def test_deletion_that_stops_after_any_write_is_completed_by_the_next(
        self, open_api: RunsApi, web: Web, dynamodb: DynamoDb, access_rows: AccessRows
    ) -> None:
        """Each thing ends once and has one record, whatever the last write was."""
        stops: list[int | None] = [None]
        for stop in stops:
            dynamodb.reset()
            for each in secrets_manager().list_secrets()["SecretList"]:
                secrets_manager().delete_secret(
                    SecretId=each["Name"], ForceDeleteWithoutRecovery=True
                )
            # New credentials, because they expire after two minutes.
            owner, grace = web.browser("katherine"), web.browser("grace")
            create(open_api, owner)
            fill(open_api, owner, web.bearer("nightly", client="nightly"), grace)
            dynamodb.calls.clear()
            dynamodb.remaining = stop
            first = delete(open_api, owner, live_runs="cancel")
            dynamodb.remaining = None
            if stop is None:
                assert first.json["retry_after_seconds"] == SETTLING_SECONDS
                writes = WRITES | {"DeleteSecret", "SendMessage"}
                calls = enumerate(dynamodb.calls, start=1)
                stops += [number for number, call in calls if call.operation in writes]
            while (answer := delete(open_api, owner, live_runs="cancel")).status == 202:
                age_markers(dynamodb)
            assert answer.status == 200, answer.body
            assert left_of(dynamodb) == []
            assert secret_states() == {True}
            actions = ("delete_runner", "delete_credential", "cancel_run", "revoke_role")
            assert [len(access_rows.records(action)) for action in actions] == [2, 1, 2, 3]
            assert len(access_rows.records("delete_project")) == 1
        assert len(stops) > 13

    def test_end_of_a_deletion_that_stops_is_completed_by_the_next(
        self, open_api: RunsApi, grace: Credential, dynamodb: DynamoDb, access_rows: AccessRows
    ) -> None:
        """Whoever deletes keeps its role until the name is taken for ever."""
        deaths = 0
        while True:
            dynamodb.reset()
            create(open_api, grace)
            dynamodb.remaining = deaths
            first = delete(open_api, grace)
            dynamodb.remaining = None
            if first.status == 200:
                break
            again = delete(open_api, grace)
            assert again.status in {200, 404}
            assert left_of(dynamodb) == []
            assert create(open_api, grace).reason == "project_exists"
            assert len(access_rows.records("revoke_role")) == 1
            deaths += 1
        assert deaths > 10

    def test_more_than_a_request_can_end_is_ended_by_the_next_ones(
        self, open_api: RunsApi, grace: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """The answer is 202, and no request takes more than its steps."""
        create(open_api, grace)
        rows: list[Any] = [
            {
                "scope": {"S": "project#apollo"},
                "entry": {"S": f"roles#user:{web.url}#{number:03}"},
                "roles": {"SS": ["project:viewer"]},
            }
            for number in range(STEPS + 20)
        ]
        put_all(dynamodb, rows, table=ACCESS_TABLE)
        answers = [delete(open_api, grace)]
        while answers[-1].json["retry_after_seconds"] == 1:
            answers.append(delete(open_api, grace))
        ended = [answer.json["ended"]["roles"] for answer in answers]
        assert len(answers) > 1
        assert all(number <= STEPS for number in ended)
        assert sum(ended) == STEPS + 20

    def test_right_that_is_granted_meanwhile_ends_too(
        self, open_api: RunsApi, ada: Credential, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """Everything is listed again from the start until nothing is found."""
        create(open_api, grace)
        grant(open_api, grace, "apollo", "margaret", "project:viewer")
        dynamodb.faults.append(
            Meanwhile(
                "UpdateItem", lambda: grant(open_api, ada, "apollo", "aaron", "project:editor")
            )
        )
        assert delete(open_api, grace).json["ended"]["roles"] == 2
        assert len(left_of(dynamodb)) == 1

    def test_other_roles_and_agents_delete_no_project(
        self, open_api: RunsApi, grace: Credential, web: Web, access_rows: AccessRows
    ) -> None:
        """An editor may not, and neither an agent that the project allows to be its admin."""
        create(open_api, web.browser("katherine"))
        access_rows.grant("project:editor", "grace")
        assert delete(open_api, grace).reason == "forbidden"
        access_rows.grant("project:admin", "grace")
        access_rows.allow("helper", "project:admin")
        agent = web.bearer("grace", client="helper", act={"sub": "helper", "client_id": "helper"})
        assert delete(open_api, agent).reason == "forbidden"
        assert access_rows.records("delete_project") == []


class TestDeletedName:
    """The name of a deleted project belongs to nobody else."""

    def test_first_run_does_not_claim_it(
        self, open_api: RunsApi, ada: Credential, grace: Credential, web: Web
    ) -> None:
        """Neither by a run nor by a runner, and the former creator has no right either."""
        create(open_api, grace)
        delete(open_api, grace)
        for by in (grace, web.browser("margaret")):
            assert open_api.call("POST", f"{APOLLO}/runs", by=by).status == 404
            runner = {"client": "scheduler"}
            path = f"{APOLLO}/runners/gpu"
            assert open_api.call("PUT", path, by=by, document=runner).status == 404
        assert show(open_api, ada, "apollo").json["deleted_at"] is not None

    def test_admins_of_all_projects_create_it_again(
        self, open_api: RunsApi, ada: Credential, grace: Credential, access_rows: AccessRows
    ) -> None:
        """Its new admin is whoever decided so, and the former one has no right in it."""
        create(open_api, grace)
        delete(open_api, grace)
        answer = create(open_api, ada)
        assert (answer.status, answer.json["deleted_at"]) == (201, None)
        assert answer.json["created_by"]["subject"] == "ada"
        assert show(open_api, grace, "apollo").status == 404
        assert len(access_rows.records("create_project")) == 2
        assert delete(open_api, ada).status == 200

    def test_admin_of_all_projects_repeats_a_deletion(
        self, open_api: RunsApi, ada: Credential, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """It ends what an admin of all projects made in the deleted one."""
        create(open_api, grace)
        delete(open_api, grace)
        path = f"{APOLLO}/runners/gpu"
        assert open_api.call("PUT", path, by=ada, document={"client": "scheduler"}).status == 201
        answer = delete(open_api, ada)
        assert (answer.status, answer.json["ended"]["runners"]) == (200, 1)
        assert left_of(dynamodb) == []

    def test_project_that_never_was_is_not_found(self, open_api: RunsApi, ada: Credential) -> None:
        """An admin of all projects deletes nothing there, and takes no name."""
        assert delete(open_api, ada).reason == "not_found"
        assert create(open_api, ada).status == 201


def age_markers(dynamodb: DynamoDb) -> None:
    """Let the minutes pass for which a deletion waits."""
    for row in dynamodb.rows(ACCESS_TABLE):
        if "deleting_until" in row:
            row["deleting_until"] = {"N": "0"}
            dynamodb.client.put_item(TableName=ACCESS_TABLE, Item=row)
        if "rights_ended_at" in row:
            settle(dynamodb)
