"""Reading the audit trail by resource and by accountable principal."""

from copy import replace
from itertools import chain
from typing import Any

import pytest

from byline.identity.caller import Caller
from byline.tables.paging import PAGES_PER_LISTING, ROWS_PER_PAGE
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail, RepresentedPerson
from tests.runs.access_rows import AccessRows
from tests.runs.audit_api import actions, ask, pages, records
from tests.runs.identity_server import NO_CREDENTIAL, Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import ACCESS_TABLE, DynamoDb, Refusal

RUN = "01JD9XK3T5ZQ8W7V6R5N4M3K2J"
OTHER_RUN = "01JD9XK3T5ZQ8W7V6R5N4M3K2K"
NOW = 1_800_000_000


def seed(dynamodb: DynamoDb, *records: tuple[ActionContext, AuditedResource]) -> None:
    """Write one record for each second."""
    for number, (action, resource) in enumerate(records):
        trail = AuditTrail(dynamodb.client, ACCESS_TABLE, now=lambda: NOW + number)  # noqa: B023
        trail.write(action, "cancel_run", resource, run=None)


def run_of(project: str, run_id: str = RUN) -> AuditedResource:
    """A run as an audited resource."""
    return AuditedResource(project, "run", run_id)


def requests(found: list[dict[str, Any]]) -> list[str]:
    """The request ids of records."""
    return [record["request_id"] for record in found]


@pytest.fixture
def ada_herself(web: Web) -> Caller:
    """Ada as a verified caller."""
    return Caller("user", "alb", web.url, "ada", "ada", "Ada")


@pytest.fixture
def bot(web: Web) -> Caller:
    """A service account as a verified caller."""
    return Caller("application", "bearer", web.url, "bot", "bot", "bot")


def test_records_of_a_run_are_listed_newest_first(api: RunsApi, ada: Credential) -> None:
    """The list contains the records of this run and of no other."""
    one, other = api.create(ada), api.create(ada)
    api.call("POST", f"/v1/projects/apollo/runs/{one['id']}/start", by=ada)
    newest, oldest = records(api, ada, run=one["id"])
    assert (newest["action"], oldest["action"]) == ("start_run", "create_run")
    assert newest["id"] > oldest["id"]
    assert newest["at"] >= oldest["at"]
    assert actions(api, ada, run=other["id"]) == ["create_run"]


def test_records_of_a_deleted_run_are_listed(api: RunsApi, ada: Credential) -> None:
    """The trail still lists the records of a run that was deleted."""
    run = api.create(ada)
    api.call("DELETE", f"/v1/projects/apollo/runs/{run['id']}", by=ada)
    assert actions(api, ada, run=run["id"]) == ["create_run", "delete_run"]


def test_records_of_a_person_include_those_on_their_behalf(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web, ada_herself: Caller, bot: Caller
) -> None:
    """A person's list has their own actions and those of service accounts on their behalf."""
    for_ada = RepresentedPerson(f"user:{web.url}#ada", '{"user":{"id":{"subject":"ada"}}}')
    seed(
        dynamodb,
        (ActionContext(ada_herself, "hers"), run_of("apollo")),
        (ActionContext(bot, "for her", for_ada), run_of("apollo", OTHER_RUN)),
        (ActionContext(bot, "its own"), run_of("apollo")),
    )
    for name in ("me", "ada", f"user:{web.url}#ada"):
        found = records(api, ada, person=name)
        assert requests(found) == ["for her", "hers"]
    assert found[0]["actor"]["application"]["id"] == {"subject": "bot"}
    assert found[0]["on_behalf_of"]["user"]["id"] == {"subject": "ada"}
    assert requests(records(api, ada, person=f"application:{web.url}#bot")) == ["its own"]


def test_records_of_an_email_are_those_of_its_owners(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """An e-mail address in any case means the persons whose profile has it, and the person whose
    subject it is.

    All are in one list. It never means a service account.
    """
    email = "Audited@Example.com"
    lin, tom = web.browser("audited-lin", email=email), web.browser("audited-tom", email=email)
    for caller in (lin, tom, web.bearer("audited-bot", "audited-bot", email=email)):
        api.call("GET", "/v1/whoami", by=caller)
    subjects = ("audited-lin", "audited-tom", email, "audited-bot", "ada", "audited-lin")
    callers = [Caller("user", "alb", web.url, one, one, one) for one in subjects]
    callers[3] = replace(callers[3], kind="application")
    seed(
        dynamodb, *((ActionContext(one, str(n)), run_of("apollo")) for n, one in enumerate(callers))
    )
    assert requests(records(api, ada, person=email)) == ["5", "2", "1", "0"]
    for spelling in (email.lower(), email.upper()):
        assert requests(records(api, ada, person=spelling)) == ["5", "1", "0"]
    for limit in ("1", "2", "3"):
        assert requests(records(api, ada, person=email, limit=limit)) == ["5", "2", "1", "0"]
    assert records(api, ada, person=f"no-{email}") == []
    assert records(api, ada, person=f"user:{web.url}#{email.lower()}") == []


def test_records_of_a_namesake_are_not_listed(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb
) -> None:
    """A principal with the same subject but another issuer or kind is another principal."""
    strangers = [
        Caller("user", "bearer", "https://other.example", "ada", "ada", "Ada"),
        Caller("application", "bearer", "https://other.example", "ada", "ada", "ada"),
    ]
    seed(dynamodb, *((ActionContext(caller, "theirs"), run_of("apollo")) for caller in strangers))
    assert records(api, ada, person="ada") == records(api, ada, person="me") == []


def test_records_of_another_project_are_not_listed(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, ada_herself: Caller
) -> None:
    """Neither a query by person nor one by run lists records of another project."""
    action = ActionContext(ada_herself, "elsewhere")
    seed(
        dynamodb, (action, run_of("gemini")), (ActionContext(ada_herself, "here"), run_of("apollo"))
    )
    assert requests(records(api, ada, person="me")) == ["here"]
    assert requests(records(api, ada, run=RUN)) == ["here"]
    assert requests(records(api, ada, project="gemini", person="me")) == ["elsewhere"]


@pytest.mark.parametrize("query", [{"run": RUN}, {"person": "me"}])
@pytest.mark.parametrize("count", [5, 6, 7])
def test_pages_contain_every_record_once(
    api: RunsApi,
    ada: Credential,
    dynamodb: DynamoDb,
    ada_herself: Caller,
    query: dict[str, str],
    count: int,
) -> None:
    """The pages have each record once, newest first, and the last page is not empty."""
    seed(dynamodb, *((ActionContext(ada_herself, str(n)), run_of("apollo")) for n in range(count)))
    listed = list(pages(api, ada, limit="3", **query))
    assert [len(page) for page in listed] == [3, count - 3, 0][:2] if count <= 6 else [3, 3, 1]
    assert requests(list(chain(*listed))) == [str(n) for n in reversed(range(count))]


def test_page_ends_early_after_many_records_of_other_projects(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, ada_herself: Caller
) -> None:
    """A page that reads its limit of rows ends early with a cursor, and the next one goes on."""
    elsewhere = PAGES_PER_LISTING * ROWS_PER_PAGE + 10
    seed(
        dynamodb,
        (ActionContext(ada_herself, "first"), run_of("apollo")),
        *(
            (ActionContext(ada_herself, f"elsewhere {n}"), run_of("gemini"))
            for n in range(elsewhere)
        ),
        (ActionContext(ada_herself, "last"), run_of("apollo")),
    )
    dynamodb.calls.clear()
    first, second = pages(api, ada, person="me")
    assert (requests(first), requests(second)) == (["last"], ["first"])
    queries = [call for call in dynamodb.calls if call.operation == "Query"]
    assert len(queries) == PAGES_PER_LISTING + 1


class TestRefusals:
    """Requests for records that are refused."""

    @pytest.mark.parametrize(
        "query",
        [
            {"run": RUN, "person": "me"},
            {"action": "read_run"},
            {"resource": "message"},
            {"since": "yesterday"},
            {"since": "2026-11-27T08:00:00"},
            {"since": "2026-11-27T08:00:00Z", "until": "2026-11-27T08:00:00Z"},
            {"run": "x"},
            {"run": RUN.lower()},
            {"run": f"{RUN}\n"},
            {"runner": "A"},
            {"credential": "a/b"},
            {"person": ""},
            {"person": "\0"},
            {"person": "x" * 1025},
            {"run": RUN, "limit": "0"},
            {"run": RUN, "limit": "101"},
            {"run": RUN, "of": "x"},
        ],
    )
    def test_invalid_query_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, query: dict[str, str]
    ) -> None:
        """A query has one resource or person of valid form at most: 400, and nothing is read."""
        dynamodb.calls.clear()
        answer = ask(api, ada, **query)
        assert (answer.status, answer.reason) == (400, "invalid_parameter")
        assert dynamodb.calls == []

    @pytest.mark.parametrize("query", [{"run": OTHER_RUN}, {"person": "me"}, {"project": "gemini"}])
    def test_cursor_of_another_query_is_refused(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        ada_herself: Caller,
        query: dict[str, str],
    ) -> None:
        """A cursor of another run, person or project is answered 400."""
        seed(dynamodb, *((ActionContext(ada_herself, str(n)), run_of("apollo")) for n in range(2)))
        cursor = ask(api, ada, run=RUN, limit="1").json["next_cursor"]
        assert ask(api, ada, run=RUN, limit="1", cursor=cursor).status == 200
        other = {"run": RUN, **query} if "person" not in query else query
        answer = ask(api, ada, **other, cursor=cursor)
        assert (answer.status, answer.reason) == (400, "invalid_cursor")
        altered = ask(api, ada, run=RUN, cursor=f"{cursor[:-1]}{'A' if cursor[-1] != 'A' else 'B'}")
        assert altered.status == 400

    def test_anonymous_caller_is_refused(self, api: RunsApi, dynamodb: DynamoDb) -> None:
        """An anonymous caller is answered 401 before anything is read."""
        dynamodb.calls.clear()
        assert ask(api, NO_CREDENTIAL, run=RUN).status == 401
        assert dynamodb.calls == []

    def test_caller_without_a_role_gets_not_found(self, api: RunsApi, web: Web) -> None:
        """A caller without a role is answered 404 for every query."""
        eve = web.browser("eve")
        for query in ({"run": RUN}, {"person": "me"}, {"person": "ada"}, {}):
            answer = ask(api, eve, **query)
            assert (answer.status, answer.reason) == (404, "not_found")

    def test_unreadable_trail_is_unavailable(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A failed read is answered 503: an empty list would say that no action took place."""
        dynamodb.faults.extend([Refusal("Query", "InternalServerError", status=500)] * 9)
        answer = ask(api, ada, run=RUN)
        assert (answer.status, answer.reason) == (503, "store_unavailable")


class TestOwnRecords:
    """What people may list without `read_audit` for the project."""

    @pytest.fixture
    def lin(self, web: Web, dynamodb: DynamoDb, request: pytest.FixtureRequest) -> Credential:
        """A person with a role in apollo."""
        AccessRows(dynamodb, web).grant(getattr(request, "param", "project:editor"), "lin")
        return web.browser("lin")

    @pytest.mark.parametrize("lin", ["project:viewer", "project:editor"], indirect=True)
    def test_person_sees_its_own_records(
        self, api: RunsApi, web: Web, ada: Credential, lin: Credential
    ) -> None:
        """Everybody with a role sees what it did itself, and what others did on its behalf."""
        granted = {"subject": "lin", "role": "project:editor"}
        api.call("PUT", "/v1/projects/apollo/role-bindings", by=ada, document=granted)
        api.create(lin)
        for person in ("me", f"user:{web.url}#lin"):
            assert actions(api, lin, person=person) == ["create_run"]

    @pytest.mark.parametrize("lin", ["project:viewer", "project:editor"], indirect=True)
    def test_person_sees_no_records_of_others(
        self, api: RunsApi, web: Web, ada: Credential, lin: Credential
    ) -> None:
        """Another person, an e-mail address and a resource are answered as before: 404."""
        run = api.create(ada)["id"]
        others = ("ada", f"user:{web.url}#ada", f"application:{web.url}#lin", "lin@example.com")
        queries = [*({"person": other} for other in others), {"run": run}]
        assert {ask(api, lin, **query).status for query in queries} == {404}

    def test_person_without_a_role_sees_no_records(self, api: RunsApi, web: Web) -> None:
        """A project that the caller may not see is not found, whatever it did there before."""
        assert ask(api, web.browser("eve"), person="me").status == 404

    def test_application_sees_no_records(self, api: RunsApi, web: Web, dynamodb: DynamoDb) -> None:
        """Own records are a right of people. An application needs a role that allows it."""
        AccessRows(dynamodb, web).grant("project:editor", "robot", kind="application")
        assert ask(api, web.bearer("robot", client="robot"), person="me").status == 404


def test_records_of_a_client_are_listed(api: RunsApi, web: Web, dynamodb: DynamoDb) -> None:
    """`through` finds what people and their agents did with a client's token."""
    rows = AccessRows(dynamodb, web)
    rows.grant("project:editor", "lin")
    for client in ("cli", "notebook", "cli"):
        api.create(web.bearer("lin", client=client))
    api.create(web.browser("lin"))
    ada = web.browser("ada")
    by_cli = records(api, ada, person="lin", through="cli", limit="1")
    assert [record["who"]["actor"]["through"] for record in by_cli] == ["cli", "cli"]
    run = by_cli[0]["resource"]["id"]
    assert actions(api, ada, run=run, through="cli") == ["create_run"]
    assert actions(api, ada, run=run, through="notebook") == []
    cursor = ask(api, ada, person="lin", through="cli", limit="1").json["next_cursor"]
    assert ask(api, ada, person="lin", cursor=cursor).reason == "invalid_cursor"
