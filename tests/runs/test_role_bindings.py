"""Roles are granted and revoked, and the creator of a new project becomes its admin."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import batched

import pytest

from serve_runs.role_bindings.store import QUERIES_A_PAGE, ROWS_A_QUERY
from tests.runs.access_rows import AccessRows, register
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb

BINDINGS = "/v1/projects/apollo/role-bindings"
RUNS = "/v1/projects/apollo/runs"
OTHER = "https://other.example"


@pytest.fixture
def strict(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Only Ada administers every project."""
    return start_api(PROJECT_ADMINS="ada")


@pytest.fixture
def free(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Anyone may create a project, and Ada administers all."""
    return start_api(PROJECT_ADMINS="ada", PROJECT_CREATION="anyone")


def grant(api: RunsApi, by: Credential, role: str, subject: str = "grace", **more: str) -> Answer:
    """Grant a role."""
    return api.call("PUT", BINDINGS, by=by, document={"role": role, "subject": subject, **more})


def revoke(api: RunsApi, by: Credential, role: str, subject: str = "grace", **more: str) -> Answer:
    """Revoke a role."""
    query = {"role": role, "subject": subject, **more}
    return api.call("DELETE", BINDINGS, by=by, query=query)


def create(api: RunsApi, by: Credential) -> Answer:
    """Create a run."""
    return api.call("POST", RUNS, by=by, document={})


def test_role_counts_until_it_is_revoked(
    strict: RunsApi, ada: Credential, grace: Credential
) -> None:
    """A role permits its actions from the next request on, until it is revoked."""
    assert create(strict, grace).status == 404
    assert grant(strict, ada, "project:viewer").status == 201
    assert create(strict, grace).status == 403
    assert grant(strict, ada, "project:editor").status == 201
    assert create(strict, grace).status == 201
    assert revoke(strict, ada, "project:editor").status == 204
    assert create(strict, grace).status == 403
    assert revoke(strict, ada, "project:viewer").status == 204
    assert create(strict, grace).status == 404


def test_repeated_grant_changes_nothing(
    strict: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """The second grant is answered 200 and the second revocation 404, each without a record."""
    assert [grant(strict, ada, "project:viewer").status for _ in range(2)] == [201, 200]
    assert len(audit_records(dynamodb)) == 1
    assert [revoke(strict, ada, "project:viewer").status for _ in range(2)] == [204, 404]
    assert len(audit_records(dynamodb)) == 2


def audit_records(dynamodb: DynamoDb) -> list[object]:
    """The rows of the audit trail."""
    rows = dynamodb.rows(ACCESS_TABLE)
    return [row for row in rows if str(row["scope"]).find("audit#") >= 0]


def test_role_does_not_count_for_a_namesake(strict: RunsApi, ada: Credential, web: Web) -> None:
    """The same subject of another kind or issuer does not have the role."""
    grant(strict, ada, "project:editor", "gpu")
    assert create(strict, web.bearer("gpu", client="gpu")).status == 404
    assert create(strict, web.browser("gpu")).status == 201
    grant(strict, ada, "project:editor", "tpu", issuer="https://other.example")
    assert create(strict, web.browser("tpu")).status == 404
    grant(strict, ada, "project:editor", "tpu", kind="application")
    assert create(strict, web.bearer("tpu", client="tpu")).status == 201


@pytest.mark.parametrize(
    "role", ["project:viewer", "project:editor", "credential:token-reader", "runner:token-reader"]
)
def test_other_roles_cannot_grant_or_revoke(
    strict: RunsApi, ada: Credential, grace: Credential, role: str
) -> None:
    """A caller that is not an admin can neither grant itself a role nor revoke one."""
    grant(strict, ada, role)
    for answer in (grant(strict, grace, "project:admin"), revoke(strict, grace, role)):
        assert answer.status in {403, 404}
    assert create(strict, grace).status == (
        201 if role == "project:editor" else refusal_status(role)
    )


def refusal_status(role: str) -> int:
    """The status for a create by a caller with this role alone."""
    return 403 if role == "project:viewer" else 404


def test_last_admin_cannot_be_revoked(strict: RunsApi, ada: Credential, grace: Credential) -> None:
    """The last admin's role is answered 409 until another admin exists."""
    grant(strict, ada, "project:admin")
    answer = revoke(strict, grace, "project:admin")
    assert (answer.status, answer.reason) == (409, "last_admin")
    grant(strict, grace, "project:admin", "margaret")
    assert revoke(strict, grace, "project:admin").status == 204
    assert revoke(strict, ada, "project:admin", "margaret").status == 409


def test_concurrent_revocations_leave_one_admin(strict: RunsApi, ada: Credential) -> None:
    """The number of admins is in the transaction, so one of two concurrent revocations fails."""
    for subject in ("grace", "margaret"):
        grant(strict, ada, "project:admin", subject)
    with ThreadPoolExecutor(2) as threads:
        answers = threads.map(
            lambda subject: revoke(strict, ada, "project:admin", subject).status,
            ("grace", "margaret"),
        )
    assert sorted(answers) in ([204, 409], [204, 503])
    [remaining] = strict.call("GET", BINDINGS, by=ada).json["role_bindings"]
    assert remaining["roles"] == ["project:admin"]


def test_admin_that_is_granted_twice_counts_once(
    strict: RunsApi, ada: Credential, grace: Credential
) -> None:
    """A repeated grant does not raise the number of admins."""
    grant(strict, ada, "project:admin")
    grant(strict, ada, "project:admin")
    assert revoke(strict, grace, "project:admin").status == 409


def test_pages_contain_every_principal_with_roles_once(strict: RunsApi, ada: Credential) -> None:
    """A principal is listed with all its roles, and not at all after its last one is revoked."""
    for number in range(5):
        grant(strict, ada, "project:viewer", f"person-{number}")
    grant(strict, ada, "credential:reader", "person-1")
    revoke(strict, ada, "project:viewer", "person-2")
    listed, cursor = [], ""
    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = strict.call("GET", BINDINGS, by=ada, query=query).json
        listed += page["role_bindings"]
        assert len(page["role_bindings"]) <= 2
        if not (cursor := page["next_cursor"]):
            break
    assert [binding["subject"] for binding in listed] == [f"person-{n}" for n in (0, 1, 3, 4)]
    assert listed[1]["roles"] == ["credential:reader", "project:viewer"]


def test_listing_reads_a_bounded_number_of_rows(
    strict: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """Principals whose last role was revoked leave rows: a page reads 500 of them, and the next
    page goes on."""
    rows = [
        {"scope": {"S": "project#apollo"}, "entry": {"S": f"roles#user:{web.url}#no-{number:03}"}}
        for number in range(QUERIES_A_PAGE * ROWS_A_QUERY)
    ]
    for some in batched(rows, 25, strict=False):
        puts = [{"PutRequest": {"Item": row}} for row in some]
        dynamodb.client.batch_write_item(RequestItems={ACCESS_TABLE: puts})
    grant(strict, ada, "project:viewer", "zoe")
    dynamodb.calls.clear()
    page = strict.call("GET", BINDINGS, by=ada, query={"limit": "1"}).json
    queries = [call for call in dynamodb.calls if call.operation == "Query"]
    assert (page["role_bindings"], len(queries)) == ([], QUERIES_A_PAGE)
    query = {"limit": "1", "cursor": page["next_cursor"]}
    page = strict.call("GET", BINDINGS, by=ada, query=query).json
    assert [one["subject"] for one in page["role_bindings"]] == ["zoe"]
    assert page["next_cursor"] is None


@pytest.mark.parametrize(
    "document",
    [
        {"role": "project:owner", "subject": "grace"},
        {"role": "project:viewer"},
        {"role": "project:viewer", "subject": ""},
        {"role": "project:viewer", "subject": "grace", "kind": "group"},
        {"role": "project:viewer", "subject": "grace", "kind": "anonymous"},
        {"role": "project:viewer", "subject": "grace", "issuer": "https://a.example#b"},
        {"role": "project:viewer", "subject": "grace", "extra": 1},
        {"subject": "grace"},
        [],
    ],
    ids=str,
)
def test_invalid_binding_is_refused(
    strict: RunsApi, ada: Credential, dynamodb: DynamoDb, document: object
) -> None:
    """An unknown role, a wrong kind and a wrong member are answered 400, and nothing is written."""
    answer = strict.call("PUT", BINDINGS, by=ada, document=document)
    assert (answer.status, answer.reason) in {(400, "invalid_body"), (400, "invalid_parameter")}
    assert audit_records(dynamodb) == []


@pytest.mark.parametrize("member", ["subject", "issuer"])
@pytest.mark.parametrize("character", ["\u200b", "\u202e", "\u2066", "\ufeff", "\u00a0", "\u3164"])
def test_binding_with_an_invisible_character_is_refused(
    strict: RunsApi, ada: Credential, dynamodb: DynamoDb, member: str, character: str
) -> None:
    """The answer names the character, which a reader does not see, and nothing is written."""
    document = {"role": "project:viewer", "subject": "grace", "issuer": "https://a.example"}
    document[member] = document[member].replace("a", f"a{character}", 1)
    answer = strict.call("PUT", BINDINGS, by=ada, document=document)
    assert (answer.status, answer.reason) == (400, "invalid_body")
    assert f"`{member}` has U+{ord(character):04X}" in answer.json["detail"]
    assert audit_records(dynamodb) == []


def test_binding_with_an_invisible_character_of_an_earlier_version_can_be_revoked(
    strict: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A role that was granted before such subjects were refused does not stay for good."""
    AccessRows(dynamodb, web).grant("project:viewer", "gra\u200bce")
    assert revoke(strict, ada, "project:viewer", "gra\u200bce").status == 204
    assert strict.call("GET", BINDINGS, by=ada).json["role_bindings"] == []


class TestApplicationWithoutAnIssuer:
    """A binding of an application whose issuer is not given."""

    @pytest.fixture
    def two_issuers(self, start_api: Callable[..., RunsApi], web: Web) -> RunsApi:
        """The issuer of browsers and one more are trusted for Bearer tokens."""
        other = {"issuer": OTHER, "audiences": ["byline"], "profile": "generic"}
        trusted = json.loads(web.environment()["TRUSTED_ISSUERS"])
        return start_api(PROJECT_ADMINS="ada", TRUSTED_ISSUERS=json.dumps([*trusted, other]))

    def test_application_is_of_the_only_issuer_of_bearer_tokens(
        self, start_api: Callable[..., RunsApi], ada: Credential, web: Web
    ) -> None:
        """Applications have Bearer tokens alone, so the issuer of browsers is not assumed."""
        other = {"issuer": OTHER, "audiences": ["byline"], "profile": "generic"}
        api = start_api(PROJECT_ADMINS="ada", TRUSTED_ISSUERS=json.dumps([other]))
        answer = grant(api, ada, "project:viewer", "gpu", kind="application")
        assert (answer.status, answer.json["issuer"]) == (201, OTHER)
        assert grant(api, ada, "project:viewer").json["issuer"] == web.url

    def test_issuer_is_required_where_two_are_trusted(
        self, two_issuers: RunsApi, ada: Credential, web: Web, dynamodb: DynamoDb
    ) -> None:
        """The answer lists the issuers, and nothing is written for an application of either."""
        answer = grant(two_issuers, ada, "project:viewer", "gpu", kind="application")
        assert (answer.status, answer.reason) == (400, "invalid_parameter")
        assert "`issuer` is required" in answer.json["detail"]
        assert {web.url, OTHER} <= set(answer.json["detail"].rstrip(".").replace(",", "").split())
        assert audit_records(dynamodb) == []
        answer = grant(two_issuers, ada, "project:viewer", "gpu", kind="application", issuer=OTHER)
        assert answer.status == 201


@pytest.mark.parametrize(
    ("anonymous", "role", "status"),
    [
        ("allow", "project:viewer", 201),
        ("allow", "project:editor", 201),
        ("allow", "project:admin", 400),
        ("refuse", "project:viewer", 400),
        ("refuse", "project:admin", 400),
    ],
)
def test_anonymous_callers_are_no_admin_and_have_roles_only_where_they_may_call(
    start_api: Callable[..., RunsApi],
    ada: Credential,
    dynamodb: DynamoDb,
    anonymous: str,
    role: str,
    status: int,
) -> None:
    """A refused grant writes nothing, and does not count as one of the project's admins."""
    api = start_api(PROJECT_ADMINS="ada", ANONYMOUS_CALLERS=anonymous)
    document = {"role": role, "kind": "anonymous"}
    answer = api.call("PUT", BINDINGS, by=ada, document=document)
    assert answer.status == status
    if status == 400:
        assert answer.reason == "invalid_body"
        rows = dynamodb.rows(ACCESS_TABLE)
        assert [row for row in rows if row["entry"]["S"] != "profile"] == []


def test_role_of_anonymous_callers_can_be_revoked_where_it_has_no_effect(
    start_api: Callable[..., RunsApi], ada: Credential
) -> None:
    """A binding from the time when anonymous callers were allowed does not stay for good."""
    document = {"role": "project:viewer", "kind": "anonymous"}
    allowing = start_api(PROJECT_ADMINS="ada", ANONYMOUS_CALLERS="allow")
    assert allowing.call("PUT", BINDINGS, by=ada, document=document).status == 201
    refusing = start_api(PROJECT_ADMINS="ada", ANONYMOUS_CALLERS="refuse")
    assert refusing.call("DELETE", BINDINGS, by=ada, query=document).status == 204


@pytest.mark.parametrize(("issuer_bytes", "status"), [(69, 201), (70, 400)])
def test_principal_at_and_over_its_limit(
    strict: RunsApi, ada: Credential, issuer_bytes: int, status: int
) -> None:
    """Kind, issuer and subject together have at most 840 bytes."""
    issuer = "https://".ljust(issuer_bytes, "a")
    answer = grant(strict, ada, "project:viewer", "☃" * 255, issuer=issuer)
    assert answer.status == status


class TestNewProject:
    """The admin of a project that does not exist yet."""

    def test_first_run_makes_its_creator_the_admin(
        self, free: RunsApi, grace: Credential, web: Web
    ) -> None:
        """The creator of a project's first run grants roles in it."""
        assert create(free, grace).status == 201
        assert grant(free, grace, "project:viewer", "margaret").status == 201
        assert create(free, web.browser("margaret")).status == 403
        assert create(free, web.browser("eve")).status == 404

    def test_default_setting_lets_only_admins_create_a_project(
        self, strict: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """By default a create in a new project is answered 404 for callers that are not admins."""
        assert create(strict, grace).status == 404
        assert create(strict, ada).status == 201

    def test_admin_of_a_new_project_is_recorded(
        self, free: RunsApi, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """The creator's role has an audit record beside that of the run."""
        run = create(free, grace)
        records = [row for row in dynamodb.rows(ACCESS_TABLE) if "action" in row]
        resource_by_action = {row["action"]["S"]: row["resource_id"]["S"] for row in records}
        assert len(records) == 2
        assert resource_by_action["create_run"] == run.json["id"]
        assert resource_by_action["grant_role"].startswith("project:admin user:")
        assert resource_by_action["grant_role"].endswith("#grace")

    @pytest.mark.parametrize(
        "existing_row", ["run", "deleted run", "role", "deleted service account"]
    )
    def test_project_with_any_row_is_not_new(
        self, free: RunsApi, ada: Credential, grace: Credential, web: Web, existing_row: str
    ) -> None:
        """A run, a role or the trail of a deletion is enough for the project to exist."""
        if existing_row == "role":
            grant(free, ada, "project:viewer", "margaret")
        elif existing_row == "deleted service account":
            account = register(free, ada, web.bearer("robot", client="robot")).json["id"]
            path = f"/v1/projects/apollo/service-accounts/{account}"
            assert free.call("DELETE", path, by=ada).status == 204
        else:
            run = create(free, ada).json["id"]
            if existing_row == "deleted run":
                assert free.call("DELETE", f"{RUNS}/{run}", by=ada).status == 204
        assert create(free, grace).status == 404

    def test_concurrent_first_runs_make_one_admin(self, free: RunsApi, web: Web) -> None:
        """Of two concurrent creators one becomes admin, and the other is refused."""
        with ThreadPoolExecutor(2) as threads:
            answers = threads.map(
                lambda subject: create(free, web.browser(subject)).status, ("grace", "margaret")
            )
        assert sorted(answers) in ([201, 404], [201, 503])

    def test_anonymous_caller_cannot_create_a_project(
        self, start_api: Callable[..., RunsApi]
    ) -> None:
        """An anonymous caller does not become an admin, because no role would reach it again."""
        api = start_api(PROJECT_CREATION="anyone", ANONYMOUS_CALLERS="allow", PROJECT_ADMINS="")
        assert create(api, NO_CREDENTIAL).status == 404

    def test_failed_first_run_grants_no_role(
        self, free: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """The role is written together with the run, or not at all."""
        answer = free.call("POST", RUNS, by=grace, document={"name": 1})
        assert answer.status == 400
        assert free.call("GET", BINDINGS, by=ada).json["role_bindings"] == []
