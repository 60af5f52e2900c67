"""Credentials: the secret in Secrets Manager, the metadata in the table, and writes of changes
only."""

from collections.abc import Callable
from typing import Any

import pytest

from serve_runs.access.projects import project_key
from tests.runs.credentials_api import OTHER, TOKEN, CredentialsApi
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import Answer
from tests.runs.table_server import ACCESS_TABLE

JIRA = {
    "provider": "jira",
    "token": "ATATT3xFfGF0-S3CRET=",
    "url": "https://example.atlassian.net",
    "email": "ada@example.com",
}
KEY_FILE = '{"type":"service_account","private_key":"-----S3CRET-of-google-----"}'
KUBECONFIG = "apiVersion: v1\nkind: Config\nusers:\n- user:\n    token: S3CRET-of-kube\n"


def reads_and_writes(credentials: CredentialsApi) -> list[str]:
    """The operations of the AWS calls since the last call of this function."""
    calls = credentials.calls()
    credentials.world.aws.calls.clear()
    return calls


def test_new_credential_is_stored(credentials: CredentialsApi, ada: Credential) -> None:
    """The secret has the whole credential, and the row has all but the token."""
    answer = credentials.put(ada, url="https://github.example.com/api/v3")
    assert answer.status == 201
    assert answer.headers["location"] == credentials.path()
    shown = answer.json
    assert shown["provider"] == "github"
    assert shown["url"] == "https://github.example.com/api/v3"
    assert shown["created_by"] == shown["updated_by"]
    assert shown["created_by"]["user"]["id"] == {"subject": "ada"}
    assert credentials.secret() == {
        "provider": "github",
        "token": TOKEN,
        "url": "https://github.example.com/api/v3",
        "email": None,
    }
    assert credentials.get(ada).json == shown
    assert TOKEN not in str(credentials.rows())


def test_credential_shows_who_wrote_it(
    credentials: CredentialsApi, ada: Credential, grace: Credential
) -> None:
    """Each with the issuer, in the answers to a change, a read and a list."""
    credentials.put(ada)
    changed = credentials.put(grace, token=OTHER).json["who"]
    names = {field: (person["name"], person["issuer"]) for field, person in changed.items()}
    assert names == {
        "created_by": ("Ada Lovelace", credentials.issuer),
        "updated_by": ("Grace Hopper", credentials.issuer),
    }
    assert credentials.get(ada).json["who"] == changed
    [listed] = credentials.page(ada).json["credentials"]
    assert listed["who"] == changed


def test_same_credential_again_writes_nothing(
    credentials: CredentialsApi, ada: Credential, grace: Credential
) -> None:
    """The same credential from any caller writes neither a version nor a row nor a record."""
    first = credentials.put(ada, **JIRA).json
    writes, records = len(credentials.world.aws.secrets.writes), credentials.records()
    reads_and_writes(credentials)
    answer = credentials.put(grace, **JIRA)
    assert (answer.status, answer.json) == (200, first)
    assert reads_and_writes(credentials) == ["GetItem", "GetSecretValue"]
    assert len(credentials.world.aws.secrets.writes) == writes
    assert credentials.records() == records


@pytest.mark.parametrize(
    "change",
    [
        {"token": OTHER},
        {"url": "https://other.atlassian.net"},
        {"email": "grace@example.com"},
        {"provider": "generic"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changed_credential_gets_a_new_version(
    credentials: CredentialsApi, ada: Credential, grace: Credential, change: dict[str, Any]
) -> None:
    """The row names the new version of the secret and the caller that changed it."""
    before = credentials.put(ada, **JIRA).json
    versions = credentials.row()["version"]
    answer = credentials.put(grace, **{**JIRA, **change})
    assert answer.status == 200
    assert answer.json["created_by"] == before["created_by"]
    assert answer.json["updated_by"]["user"]["id"] == {"subject": "grace"}
    assert credentials.row()["version"] != versions
    assert credentials.secret() == {**JIRA, **change}


def test_put_without_a_member_removes_it(credentials: CredentialsApi, ada: Credential) -> None:
    """A put replaces the whole credential."""
    credentials.put(ada, url="https://github.example.com")
    assert credentials.put(ada).json["url"] is None
    assert "url" not in credentials.row()


@pytest.mark.parametrize(
    "body",
    [
        {"provider": "github", "token": TOKEN},
        {"provider": "gitlab", "token": "glpat-S3CRET-12"},
        JIRA,
        {"provider": "google", "token": KEY_FILE},
        {"provider": "vertex", "token": KEY_FILE},
        {"provider": "kubeconfig", "token": KUBECONFIG},
        {"provider": "kubeconfig", "token": KUBECONFIG + "# padding\n" * 5_000},
        {"provider": "generic", "token": "any text, élan too"},
    ],
    ids=lambda body: str(body["provider"]),
)
def test_token_of_each_provider_is_read_as_it_was_written(
    credentials: CredentialsApi, ada: Credential, web: Web, body: dict[str, Any]
) -> None:
    """A token reader gets every character that was written."""
    assert credentials.put(ada, **body).status == 201
    credentials.grant("tess", "credential:token-reader")
    answer = credentials.token(web.browser("tess"))
    assert answer.json == {"url": None, "email": None, **body, "credential_id": "github"}


class TestListing:
    """The list of credentials."""

    def test_pages_contain_every_credential_of_the_project_in_order(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """Names with a common prefix are in order, each is on one page, and no token is shown."""
        names = ["a", "a-b", "a1", "ab", "b", "z-9"]
        for name in reversed(names):
            credentials.put(ada, name)
        found: list[str] = []
        query: dict[str, str] = {}
        for _ in range(3):
            page = credentials.page(ada, limit="2", **query).json
            found += [each["name"] for each in page["credentials"]]
            query = {"cursor": page["next_cursor"]}
        assert found == names
        assert page["next_cursor"] is None
        assert TOKEN not in "".join(credentials.api.answers)

    def test_cursor_of_another_project_is_refused(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """A cursor of another project's list is answered 400, and nothing is read."""
        for name in ("a", "b"):
            credentials.put(ada, name)
        cursor = credentials.page(ada, limit="1").json["next_cursor"]
        reads_and_writes(credentials)
        answer = credentials.api.call(
            "GET", "/v1/projects/other/credentials", by=ada, query={"cursor": cursor}
        )
        assert answer.reason == "invalid_cursor"
        assert credentials.calls() == []

    def test_credential_under_deletion_is_not_found(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """A credential with a deletion marker is neither listed nor shown."""
        credentials.put(ada)
        row = credentials.row()
        row |= {"deleting_until": {"N": "4000000000"}}
        credentials.world.dynamodb.put_item(TableName="AccessTable", Item=row)
        assert credentials.page(ada).json["credentials"] == []
        assert credentials.get(ada).status == 404


REQUESTS: dict[str, Callable[[CredentialsApi, Credential, str], Answer]] = {
    "put": lambda api, by, name: api.put(by, name, token=OTHER),
    "get": lambda api, by, name: api.get(by, name),
    "list": lambda api, by, _: api.page(by),
    "delete": lambda api, by, name: api.delete(by, name),
    "token": lambda api, by, name: api.token(by, name),
    "bind": lambda api, by, name: api.bind(by, name=name),
}


class TestRoles:
    """The roles that permit each request, and the answers to other callers."""

    @pytest.mark.parametrize(
        ("role", "allowed", "visible"),
        [
            ("project:viewer", set(), False),
            ("project:editor", {"get", "list"}, True),
            ("project:admin", {"put", "get", "list", "delete", "bind"}, True),
            ("credential:reader", {"get", "list"}, True),
            ("credential:token-reader", {"get", "list", "token"}, True),
            ("runner:token-reader", set(), False),
        ],
    )
    @pytest.mark.parametrize("request_", REQUESTS)
    def test_role_permits_its_requests_only(
        self,
        credentials: CredentialsApi,
        ada: Credential,
        web: Web,
        role: str,
        allowed: set[str],
        request_: str,
        *,
        visible: bool,
    ) -> None:
        """A refused request is answered 403, or 404 without visibility, and changes nothing."""
        credentials.put(ada)
        credentials.grant("mary", role)
        before = credentials.secret(), credentials.rows(), credentials.records()
        answer = REQUESTS[request_](credentials, web.browser("mary"), "github")
        if request_ in allowed:
            assert answer.status in {200, 204}
            return
        # A list is about the project, which every role of the project may see.
        visible = visible or (request_ == "list" and role.startswith("project:"))
        assert (answer.status, answer.reason) == (
            (403, "forbidden") if visible else (404, "not_found")
        )
        assert (credentials.secret(), credentials.rows(), credentials.records()) == before
        assert TOKEN not in answer.body

    @pytest.mark.parametrize("request_", REQUESTS)
    def test_invisible_credential_is_answered_like_a_missing_one(
        self, credentials: CredentialsApi, ada: Credential, web: Web, request_: str
    ) -> None:
        """A caller without a role causes the same reads and gets the same answer for both."""
        credentials.put(ada)
        mary = web.browser("mary")
        answers = []
        for name in ("github", "missing"):
            reads_and_writes(credentials)
            answer = REQUESTS[request_](credentials, mary, name)
            comparable = answer.status, answer.headers, {**answer.json, "instance": "-"}
            answers.append((comparable, reads_and_writes(credentials)))
        assert answers[0] == answers[1]
        assert answers[0][0][0] == 404
        expected = ["BatchGetItem"]
        if request_ == "token":  # its readers decide, so its row is read for every caller
            expected = ["BatchGetItem", "GetItem"]
        assert answers[0][1] == expected

    @pytest.mark.parametrize("request_", sorted({*REQUESTS} - {"put", "list"}))
    def test_missing_credential_is_not_found_by_an_admin(
        self, credentials: CredentialsApi, ada: Credential, request_: str
    ) -> None:
        """An admin is answered 404 for a missing credential, not 403."""
        assert REQUESTS[request_](credentials, ada, "missing").reason == "not_found"

    @pytest.mark.parametrize("request_", REQUESTS)
    def test_anonymous_caller_is_refused_before_any_read(
        self, credentials: CredentialsApi, request_: str
    ) -> None:
        """An anonymous caller is answered 401, and nothing is read."""
        assert REQUESTS[request_](credentials, NO_CREDENTIAL, "github").reason == "no_credentials"
        assert credentials.calls() == []

    def test_change_from_another_site_is_refused(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """A change from another site's page is answered 403, and nothing is written."""
        headers = (*ada.headers, ("sec-fetch-site", "cross-site"))
        forged = Credential(headers, ada.group)
        assert credentials.put(forged).reason == "cross_site_request"
        assert credentials.delete(forged).reason == "cross_site_request"
        assert credentials.calls() == []


class TestRecords:
    """The audit records of credentials."""

    def test_each_change_is_recorded_once(
        self, credentials: CredentialsApi, ada: Credential, grace: Credential
    ) -> None:
        """Each change has one record with its principal, and an unchanged put has none."""
        credentials.put(ada)
        credentials.put(ada)
        credentials.put(grace, token=OTHER)
        credentials.delete(grace)
        records = credentials.records()
        assert [record["action"] for record in records] == [
            "write_credential",
            "write_credential",
            "delete_credential",
        ]
        principals = [record["principal"].rpartition("#")[2] for record in records]
        assert principals == ["ada", "grace", "grace"]
        assert TOKEN not in str(records)

    def test_read_token_is_recorded_with_its_run(
        self, credentials: CredentialsApi, ada: Credential, web: Web
    ) -> None:
        """The record names the reader, and the run that the reader executes."""
        credentials.put(ada)
        credentials.grant("tess", "credential:token-reader", "project:editor")
        run = credentials.run(web.browser("tess"))
        answer = credentials.token(web.browser("tess"), run=run)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        record = credentials.records()[-1]
        assert (record["action"], record["run"]) == ("read_credential_token", run)
        assert record["principal"] == f"user:{credentials.issuer}#tess"
        assert record["resource_id"] == "github"

    @pytest.mark.parametrize("run", ["", "nightly", "01m6dmbe000000000000000001"])
    def test_invalid_run_id_is_refused(
        self, credentials: CredentialsApi, ada: Credential, web: Web, run: str
    ) -> None:
        """An invalid run id is answered 400, and the secret is not read."""
        credentials.put(ada)
        credentials.grant("tess", "credential:token-reader")
        reads_and_writes(credentials)
        assert credentials.token(web.browser("tess"), run=run).reason == "invalid_parameter"
        assert "GetSecretValue" not in credentials.calls()

    def test_log_has_each_step_and_no_token(
        self,
        credentials: CredentialsApi,
        ada: Credential,
        web: Web,
        log_lines: Callable[[], list[str]],
    ) -> None:
        """The log has a line for each step, and no line contains the token."""
        credentials.grant("tess", "credential:token-reader")
        credentials.put(ada)
        credentials.token(web.browser("tess"))
        credentials.delete(ada)
        log = "".join(log_lines())
        for message in ("credential created", "credential token read", "credential deleted"):
            assert message in log
        assert TOKEN not in log


def test_project_row_stays_after_the_last_credential(
    credentials: CredentialsApi, ada: Credential
) -> None:
    """Without its row the project would be new, and its next creator could read its audit trail."""
    assert credentials.put(ada).status == 201
    assert credentials.delete(ada).status == 204
    key = project_key(credentials.project)
    answer = credentials.world.dynamodb.get_item(TableName=ACCESS_TABLE, Key=key)
    assert answer["Item"] == key | {"admins": {"N": "0"}}
