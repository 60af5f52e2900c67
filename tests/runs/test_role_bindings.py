"""Roles are granted and revoked, and the creator of a new project becomes its admin."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.runs.access_rows import register
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb

BINDINGS = "/v1/projects/apollo/role-bindings"
RUNS = "/v1/projects/apollo/runs"


@pytest.fixture
def strict(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Ada alone administers every project."""
    return start_api(PROJECT_ADMINS="ada")


@pytest.fixture
def free(start_api: Callable[..., RunsApi]) -> RunsApi:
    """Anyone may start a project; Ada administers them all."""
    return start_api(PROJECT_ADMINS="ada", PROJECT_CREATION="anyone")


def grant(api: RunsApi, by: Credential, role: str, subject: str = "grace", **more: str) -> Answer:
    return api.call("PUT", BINDINGS, by=by, document={"role": role, "subject": subject, **more})


def revoke(api: RunsApi, by: Credential, role: str, subject: str = "grace", **more: str) -> Answer:
    query = {"role": role, "subject": subject, **more}
    return api.call("DELETE", BINDINGS, by=by, query=query)


def create(api: RunsApi, by: Credential) -> Answer:
    return api.call("POST", RUNS, by=by, document={})


def test_role_counts_from_the_next_request_until_it_is_taken(
    strict: RunsApi, ada: Credential, grace: Credential
) -> None:
    """Nobody without a role so much as sees the project; with one, what it says and no more."""
    assert create(strict, grace).status == 404
    assert grant(strict, ada, "project:viewer").status == 201
    assert create(strict, grace).status == 403
    assert grant(strict, ada, "project:editor").status == 201
    assert create(strict, grace).status == 201
    assert revoke(strict, ada, "project:editor").status == 204
    assert create(strict, grace).status == 403
    assert revoke(strict, ada, "project:viewer").status == 204
    assert create(strict, grace).status == 404


def test_granting_twice_is_once(strict: RunsApi, ada: Credential, dynamodb: DynamoDb) -> None:
    """201, then 200, with one record; taking it away twice is 204, then 404."""
    assert [grant(strict, ada, "project:viewer").status for _ in range(2)] == [201, 200]
    assert len(audit_of(dynamodb)) == 1
    assert [revoke(strict, ada, "project:viewer").status for _ in range(2)] == [204, 404]
    assert len(audit_of(dynamodb)) == 2


def audit_of(dynamodb: DynamoDb) -> list[object]:
    rows = dynamodb.rows(ACCESS_TABLE)
    return [row for row in rows if str(row["scope"]).find("audit#") >= 0]


def test_role_of_a_person_is_not_a_namesake_s(strict: RunsApi, ada: Credential, web: Web) -> None:
    """Neither a service account's of the same subject nor that of another issuer's subject."""
    grant(strict, ada, "project:editor", "gpu")
    assert create(strict, web.bearer("gpu", client="gpu")).status == 404
    assert create(strict, web.browser("gpu")).status == 201
    grant(strict, ada, "project:editor", "tpu", issuer="https://other.example")
    assert create(strict, web.browser("tpu")).status == 404
    grant(strict, ada, "project:editor", "tpu", kind="application")
    assert create(strict, web.bearer("tpu", client="tpu")).status == 201


@pytest.mark.parametrize("role", ["project:viewer", "project:editor", "credential:token-reader"])
def test_only_admins_grant(strict: RunsApi, ada: Credential, grace: Credential, role: str) -> None:
    """Nobody gives themselves more than they have."""
    grant(strict, ada, role)
    for answer in (grant(strict, grace, "project:admin"), revoke(strict, grace, role)):
        assert answer.status in {403, 404}
    assert create(strict, grace).status == (201 if role == "project:editor" else answer_of(role))


def answer_of(role: str) -> int:
    return 403 if role == "project:viewer" else 404


def test_last_admin_stays(strict: RunsApi, ada: Credential, grace: Credential) -> None:
    """409, until there is another one; then either may go, and not both."""
    grant(strict, ada, "project:admin")
    answer = revoke(strict, grace, "project:admin")
    assert (answer.status, answer.reason) == (409, "last_admin")
    grant(strict, grace, "project:admin", "margaret")
    assert revoke(strict, grace, "project:admin").status == 204
    assert revoke(strict, ada, "project:admin", "margaret").status == 409


def test_two_admins_who_go_at_once_leave_one(strict: RunsApi, ada: Credential) -> None:
    """Whatever the order: the count is in the transaction of the role."""
    for subject in ("grace", "margaret"):
        grant(strict, ada, "project:admin", subject)
    with ThreadPoolExecutor(2) as threads:
        answers = threads.map(
            lambda subject: revoke(strict, ada, "project:admin", subject).status,
            ("grace", "margaret"),
        )
    assert sorted(answers) in ([204, 409], [204, 503])
    [left] = strict.call("GET", BINDINGS, by=ada).json["role_bindings"]
    assert left["roles"] == ["project:admin"]


def test_admin_who_is_granted_it_twice_counts_once(
    strict: RunsApi, ada: Credential, grace: Credential
) -> None:
    """A second grant is none, so the first one's end would leave nobody."""
    grant(strict, ada, "project:admin")
    grant(strict, ada, "project:admin")
    assert revoke(strict, grace, "project:admin").status == 409


def test_listing_goes_page_by_page(strict: RunsApi, ada: Credential) -> None:
    """Everybody once, with all roles; nobody whose last role was taken; cursors stay in theirs."""
    for number in range(5):
        grant(strict, ada, "project:viewer", f"person-{number}")
    grant(strict, ada, "credential:reader", "person-1")
    revoke(strict, ada, "project:viewer", "person-2")
    seen, cursor = [], ""
    while True:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = strict.call("GET", BINDINGS, by=ada, query=query).json
        seen += page["role_bindings"]
        assert len(page["role_bindings"]) <= 2
        if not (cursor := page["next_cursor"]):
            break
    assert [binding["subject"] for binding in seen] == [f"person-{n}" for n in (0, 1, 3, 4)]
    assert seen[1]["roles"] == ["credential:reader", "project:viewer"]


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
def test_binding_that_makes_no_sense_is_refused(
    strict: RunsApi, ada: Credential, dynamodb: DynamoDb, document: object
) -> None:
    """400, and nothing is written."""
    answer = strict.call("PUT", BINDINGS, by=ada, document=document)
    assert (answer.status, answer.reason) in {(400, "invalid_body"), (400, "invalid_parameter")}
    assert audit_of(dynamodb) == []


@pytest.mark.parametrize(("issuer_bytes", "status"), [(69, 201), (70, 400)])
def test_binding_is_no_longer_than_a_row_can_name(
    strict: RunsApi, ada: Credential, issuer_bytes: int, status: int
) -> None:
    """840 bytes of kind, issuer and subject; characters outside of ASCII have several."""
    issuer = "https://".ljust(issuer_bytes, "a")
    answer = grant(strict, ada, "project:viewer", "☃" * 255, issuer=issuer)
    assert answer.status == status


class TestNewProject:
    """Whose a project is that there was not."""

    def test_first_run_makes_its_creator_the_admin(
        self, free: RunsApi, grace: Credential, web: Web
    ) -> None:
        """Who then decides who else may do what."""
        assert create(free, grace).status == 201
        assert grant(free, grace, "project:viewer", "margaret").status == 201
        assert create(free, web.browser("margaret")).status == 403
        assert create(free, web.browser("eve")).status == 404

    def test_by_default_nobody_but_admins_makes_one(
        self, strict: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """404, as for every project that is none of hers."""
        assert create(strict, grace).status == 404
        assert create(strict, ada).status == 201

    def test_being_made_its_admin_is_on_record(
        self, free: RunsApi, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """As every role that somebody is given, beside the record of the run."""
        run = create(free, grace)
        records = [row for row in dynamodb.rows(ACCESS_TABLE) if "action" in row]
        about = {row["action"]["S"]: row["resource_id"]["S"] for row in records}
        assert len(records) == 2
        assert about["create_run"] == run.json["id"]
        assert about["grant_role"].startswith("project:admin user:")
        assert about["grant_role"].endswith("#grace")

    @pytest.mark.parametrize("trace", ["run", "deleted run", "role", "deleted service account"])
    def test_what_had_anything_is_not_new(
        self, free: RunsApi, ada: Credential, grace: Credential, web: Web, trace: str
    ) -> None:
        """Whatever the setting was when it came to be: what is left is the audit trail at least."""
        if trace == "role":
            grant(free, ada, "project:viewer", "margaret")
        elif trace == "deleted service account":
            account = register(free, ada, web.bearer("robot", client="robot")).json["id"]
            path = f"/v1/projects/apollo/service-accounts/{account}"
            assert free.call("DELETE", path, by=ada).status == 204
        else:
            run = create(free, ada).json["id"]
            if trace == "deleted run":
                assert free.call("DELETE", f"{RUNS}/{run}", by=ada).status == 204
        assert create(free, grace).status == 404

    def test_of_two_at_once_one_has_it(self, free: RunsApi, web: Web) -> None:
        """The other one finds somebody else's project."""
        with ThreadPoolExecutor(2) as threads:
            answers = threads.map(
                lambda subject: create(free, web.browser(subject)).status, ("grace", "margaret")
            )
        assert sorted(answers) in ([201, 404], [201, 503])

    def test_nobody_claims_nothing(self, start_api: Callable[..., RunsApi]) -> None:
        """Whom no request could ever be told from another's."""
        api = start_api(PROJECT_CREATION="anyone", ANONYMOUS_CALLERS="allow", PROJECT_ADMINS="")
        assert create(api, NO_CREDENTIAL).status == 404

    def test_failed_first_run_claims_nothing(
        self, free: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """The claim is written with the run or not at all."""
        answer = free.call("POST", RUNS, by=grace, document={"name": 1})
        assert answer.status == 400
        assert free.call("GET", BINDINGS, by=ada).json["role_bindings"] == []
