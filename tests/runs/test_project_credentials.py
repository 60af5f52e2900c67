"""Credentials: the secret in Secrets Manager, metadata in the table, and only what changed is
written."""

from collections.abc import Callable
from typing import Any

import pytest

from serve_runs.access.store import project_key
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
    calls = credentials.calls()
    credentials.world.aws.calls.clear()
    return calls


def test_new_credential_is_stored(credentials: CredentialsApi, ada: Credential) -> None:
    """201 where it is; the whole in the secret, in the row all but the token."""
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


def test_same_credential_again_writes_nothing(
    credentials: CredentialsApi, ada: Credential, grace: Credential
) -> None:
    """200, and neither a version, nor a row, nor a record: whoever sends it."""
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
def test_changed_credential_is_a_new_version(
    credentials: CredentialsApi, ada: Credential, grace: Credential, change: dict[str, Any]
) -> None:
    """200, with whose change it was; the row names the version that holds it."""
    before = credentials.put(ada, **JIRA).json
    versions = credentials.row()["version"]
    answer = credentials.put(grace, **{**JIRA, **change})
    assert answer.status == 200
    assert answer.json["created_by"] == before["created_by"]
    assert answer.json["updated_by"]["user"]["id"] == {"subject": "grace"}
    assert credentials.row()["version"] != versions
    assert credentials.secret() == {**JIRA, **change}


def test_what_is_left_out_is_not_kept(credentials: CredentialsApi, ada: Credential) -> None:
    """A put says all there is."""
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
def test_every_provider_is_kept_as_it_was_sent(
    credentials: CredentialsApi, ada: Credential, web: Web, body: dict[str, Any]
) -> None:
    """To the last character; the reader gets what the writer gave."""
    assert credentials.put(ada, **body).status == 201
    credentials.grant("tess", "credential:token-reader")
    told = credentials.token(web.browser("tess"))
    assert told.json == {"url": None, "email": None, **body, "credential_id": "github"}


class TestListing:
    """By name, page by page, and never a token."""

    def test_pages_have_all_of_the_project_and_nothing_else(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """Names that begin alike are in their order, and on one page each."""
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

    def test_cursor_of_another_listing_is_refused(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """400, and nothing is read."""
        for name in ("a", "b"):
            credentials.put(ada, name)
        cursor = credentials.page(ada, limit="1").json["next_cursor"]
        reads_and_writes(credentials)
        answer = credentials.api.call(
            "GET", "/v1/projects/other/credentials", by=ada, query={"cursor": cursor}
        )
        assert answer.reason == "invalid_cursor"
        assert credentials.calls() == []

    def test_deletion_under_way_is_not_listed(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """Nor shown, nor handed out."""
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
}


class TestRights:
    """Who may do what, and what is told to the others."""

    @pytest.mark.parametrize(
        ("role", "allowed", "known"),
        [
            ("project:viewer", set(), False),
            ("project:editor", {"get", "list"}, True),
            ("project:admin", {"put", "get", "list", "delete"}, True),
            ("credential:reader", {"get", "list"}, True),
            ("credential:token-reader", {"get", "list", "token"}, True),
        ],
    )
    @pytest.mark.parametrize("request_", REQUESTS)
    def test_role_may_what_it_says_and_no_more(
        self,
        credentials: CredentialsApi,
        ada: Credential,
        web: Web,
        role: str,
        allowed: set[str],
        request_: str,
        *,
        known: bool,
    ) -> None:
        """404 to whoever may not know of credentials, 403 to the others; and nothing happens."""
        credentials.put(ada)
        credentials.grant("mary", role)
        before = credentials.secret(), credentials.rows(), credentials.records()
        answer = REQUESTS[request_](credentials, web.browser("mary"), "github")
        if request_ in allowed:
            assert answer.status in {200, 204}
            return
        # A listing is the project's, of which every role knows.
        known = known or request_ == "list"
        assert (answer.status, answer.reason) == (
            (403, "forbidden") if known else (404, "not_found")
        )
        assert (credentials.secret(), credentials.rows(), credentials.records()) == before
        assert TOKEN not in answer.body

    @pytest.mark.parametrize("request_", REQUESTS)
    def test_stranger_cannot_tell_whether_there_is_a_credential(
        self, credentials: CredentialsApi, ada: Credential, web: Web, request_: str
    ) -> None:
        """The same answer and the same reads for one that is there and one that is not."""
        credentials.put(ada)
        mary = web.browser("mary")
        seen = []
        for name in ("github", "missing"):
            reads_and_writes(credentials)
            answer = REQUESTS[request_](credentials, mary, name)
            told = answer.status, answer.headers, {**answer.json, "instance": "-"}
            seen.append((told, reads_and_writes(credentials)))
        assert seen[0] == seen[1]
        assert seen[0][0][0] == 404
        assert seen[0][1] == ["BatchGetItem"]

    @pytest.mark.parametrize("request_", sorted({*REQUESTS} - {"put", "list"}))
    def test_missing_credential_is_missing_to_an_admin(
        self, credentials: CredentialsApi, ada: Credential, request_: str
    ) -> None:
        """404 before 403: what is not there is nobody's to be refused."""
        assert REQUESTS[request_](credentials, ada, "missing").reason == "not_found"

    @pytest.mark.parametrize("request_", REQUESTS)
    def test_nobody_is_refused_before_anything_is_read(
        self, credentials: CredentialsApi, request_: str
    ) -> None:
        """401."""
        assert REQUESTS[request_](credentials, NO_CREDENTIAL, "github").reason == "no_credentials"
        assert credentials.calls() == []

    def test_change_by_another_site_s_page_is_refused(
        self, credentials: CredentialsApi, ada: Credential
    ) -> None:
        """403, and nothing is written."""
        headers = (*ada.headers, ("sec-fetch-site", "cross-site"))
        forged = Credential(headers, ada.group)
        assert credentials.put(forged).reason == "cross_site_request"
        assert credentials.delete(forged).reason == "cross_site_request"
        assert credentials.calls() == []


class TestRecords:
    """What is recorded, and what never is."""

    def test_each_change_is_recorded_once(
        self, credentials: CredentialsApi, ada: Credential, grace: Credential
    ) -> None:
        """Who did it; a put that changed nothing is no change."""
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
        """Who, when, and for which run as they say."""
        run = "01M6DMBE000000000000000001"
        credentials.put(ada)
        credentials.grant("tess", "credential:token-reader")
        answer = credentials.token(web.browser("tess"), run=run)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        record = credentials.records()[-1]
        assert (record["action"], record["run"]) == ("read_credential_token", run)
        assert record["principal"] == f"user:{credentials.issuer}#tess"
        assert record["resource_id"] == "github"

    @pytest.mark.parametrize("run", ["", "nightly", "01m6dmbe000000000000000001"])
    def test_run_that_cannot_be_one_is_refused(
        self, credentials: CredentialsApi, ada: Credential, web: Web, run: str
    ) -> None:
        """400, and the secret is not read."""
        credentials.put(ada)
        credentials.grant("tess", "credential:token-reader")
        reads_and_writes(credentials)
        assert credentials.token(web.browser("tess"), run=run).reason == "invalid_parameter"
        assert "GetSecretValue" not in credentials.calls()

    def test_logs_tell_who_and_what_and_no_token(
        self,
        credentials: CredentialsApi,
        ada: Credential,
        web: Web,
        said: Callable[[], list[str]],
    ) -> None:
        """Of every step; the text is searched for in all that was logged, and in every call."""
        credentials.grant("tess", "credential:token-reader")
        credentials.put(ada)
        credentials.token(web.browser("tess"))
        credentials.delete(ada)
        log = "".join(said())
        for message in ("credential created", "credential token read", "credential deleted"):
            assert message in log
        assert TOKEN not in log


def test_project_stays_known_after_its_last_credential(
    credentials: CredentialsApi, ada: Credential
) -> None:
    """Or it would be new, and its audit trail that of whoever begins it."""
    assert credentials.put(ada).status == 201
    assert credentials.delete(ada).status == 204
    key = project_key(credentials.project)
    answer = credentials.world.dynamodb.get_item(TableName=ACCESS_TABLE, Key=key)
    assert answer["Item"] == key | {"admins": {"N": "0"}}
