"""Lists of runs: newest first, in pages, each run once."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byline.identity.caller import Caller
from byline.tables.rows import Item
from serve_runs.audit.trail import ActionContext
from serve_runs.runs.queries import RunQuery
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.states import LIVE
from serve_runs.runs.views import live_partition, new_item
from serve_runs.web.paging import encode_cursor
from tests.runs.access_rows import AccessRows
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import TABLE, DynamoDb

STATES = ("pending", "running", "succeeded", "failed", "cancelled")
RUNS = "/v1/projects/apollo/runs"


def rows_of(
    runs: Sequence[tuple[str, str, str | None, str]], *, issuer: str, labels: int = 0
) -> list[Item]:
    """Rows of runs, each given as (id, project, creator, status)."""
    rows = []
    for run_id, project, subject, status in runs:
        creator = None
        if subject is not None:
            creator = Caller(
                kind="user",
                source="alb",
                issuer=issuer,
                subject=subject,
                token_subject=subject,
                name=subject,
                given_name="Somebody",  # a row without names causes a read of profiles
            )
        body = CreateRun(labels={f"label-{number}": '"' * 256 for number in range(labels)})
        row = new_item(
            body, project=project, run_id=run_id, action=ActionContext(creator, "seed"), at=0
        )
        row |= {"status": {"S": status}, "live": {"S": live_partition(project, status)}}
        if status not in LIVE or project.startswith("deleted#"):
            del row["live"]
            row.pop("live_for", None)
        rows.append(row)
    return rows


def put_all(dynamodb: DynamoDb, rows: Sequence[Item], *, table: str = TABLE) -> None:
    """Write rows to a table."""
    client = dynamodb.client
    for start in range(0, len(rows), 25):
        batch = [{"PutRequest": {"Item": row}} for row in rows[start : start + 25]]
        client.batch_write_item(RequestItems={table: batch})


def pages_of(api: RunsApi, by: Credential, path: str, query: dict[str, str]) -> Iterator[Answer]:
    """The pages of a list, to its end."""
    cursor: dict[str, str] = {}
    while True:
        page = api.call("GET", path, by=by, query={**query, **cursor})
        assert page.status == 200, page.body
        yield page
        if page.json["next_cursor"] is None:
            return
        cursor = {"cursor": page.json["next_cursor"]}


def ids(pages: Iterable[Answer]) -> list[str]:
    """The ids of the runs on pages."""
    return [run["id"] for page in pages for run in page.json["runs"]]


def run_id(number: int) -> str:
    """A run id that sorts as its number."""
    return f"01JD9XK3T5ZQ8W7V6R5N{number:06}"


def test_runs_are_listed_newest_first(api: RunsApi, ada: Credential) -> None:
    """Runs are listed newest first, by project and by creator."""
    created = [api.create(ada, name=str(number))["id"] for number in range(3)]
    for path, query in ((RUNS, {}), ("/v1/runs", {"created_by": "ada"})):
        assert ids(pages_of(api, ada, path, query)) == created[::-1]


@pytest.mark.parametrize(("limit", "status"), [("0", 400), ("1", 200), ("100", 200), ("101", 400)])
def test_limit_at_and_over_its_bounds(
    api: RunsApi, ada: Credential, limit: str, status: int
) -> None:
    """A limit from 1 to 100 is accepted, and 0 and 101 are refused."""
    assert api.call("GET", RUNS, by=ada, query={"limit": limit}).status == status


@pytest.mark.parametrize("runs", [19, 20, 21])
def test_page_has_20_runs_by_default(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web, runs: int
) -> None:
    """A page of the default size has a cursor exactly where more runs follow."""
    rows = [(run_id(number), "apollo", "ada", "pending") for number in range(runs)]
    put_all(dynamodb, rows_of(rows, issuer=web.url))
    page = api.call("GET", RUNS, by=ada).json
    assert len(page["runs"]) == min(runs, 20)
    assert (page["next_cursor"] is None) == (runs <= 20)


@pytest.mark.parametrize("runs", [4, 5, 6])
def test_page_without_filter_makes_one_query(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web, runs: int
) -> None:
    """One query reads a page and finds out whether more runs follow."""
    rows = [(run_id(number), "apollo", "ada", "pending") for number in range(runs)]
    put_all(dynamodb, rows_of(rows, issuer=web.url))
    dynamodb.calls.clear()
    assert len(api.call("GET", RUNS, by=ada, query={"limit": "5"}).json["runs"]) == min(runs, 5)
    assert [call.operation for call in dynamodb.calls] == ["Query"]


def test_answer_is_smaller_than_a_load_balancer_accepts(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A page of large runs ends early below 1 MB, and its cursor goes on."""
    rows = [(run_id(number), "apollo", "ada", "pending") for number in range(100)]
    put_all(dynamodb, rows_of(rows, issuer=web.url, labels=32))
    pages = list(pages_of(api, ada, RUNS, {"limit": "100"}))
    assert len(pages) > 1
    assert all(len(answer) < 1_048_576 for answer in api.answers)
    assert ids(pages) == [row[0] for row in reversed(rows)]


class TestCreators:
    """Lists by creator."""

    def test_list_by_me_excludes_the_same_subject_of_another_issuer(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A person is issuer and subject: `me` lists no run of another issuer's `ada`."""
        own_run = api.create(ada)["id"]
        other_rows = rows_of(
            [(run_id(1), "apollo", "ada", "pending")], issuer="https://other.example"
        )
        put_all(dynamodb, other_rows)
        for path in ("/v1/runs", RUNS):
            assert ids(pages_of(api, ada, path, {"created_by": "me"})) == [own_run]
            assert ids(pages_of(api, ada, path, {"created_by": "ada"})) == [own_run, run_id(1)]
        assert ids(pages_of(api, web.bearer("ada"), "/v1/runs", {"created_by": "me"})) == [own_run]

    def test_list_by_creator_includes_all_projects(
        self, api: RunsApi, ada: Credential, grace: Credential, nightly: Credential
    ) -> None:
        """A creator's runs are listed across projects or in one, for persons and applications."""
        first = api.create(ada, project="apollo")["id"]
        second = api.create(ada, project="gemini")["id"]
        third = api.create(nightly, project="gemini")["id"]
        assert ids(pages_of(api, grace, "/v1/runs", {"created_by": "ada"})) == [second, first]
        assert ids(pages_of(api, grace, "/v1/runs", {"created_by": "nightly"})) == [third]
        assert ids(pages_of(api, nightly, "/v1/runs", {"created_by": "me"})) == [third]
        assert ids(pages_of(api, grace, RUNS, {"created_by": "ada"})) == [first]
        assert ids(pages_of(api, grace, "/v1/runs", {"created_by": "nobody"})) == []

    def test_list_by_creator_with_special_characters_finds_its_runs(
        self, api: RunsApi, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A subject with characters that a query must escape is found."""
        AccessRows(dynamodb, web).grant("project:editor", "auth0|ä+b &c=d%2e/?#☃")
        caller = web.browser("auth0|ä+b &c=d%2e/?#☃")
        run = api.create(caller)["id"]
        query = {"created_by": "auth0|ä+b &c=d%2e/?#☃"}
        assert ids(pages_of(api, caller, "/v1/runs", query)) == [run]

    def test_list_across_projects_without_a_creator_is_refused(
        self, api: RunsApi, ada: Credential
    ) -> None:
        """No index has all runs of all projects, so the request is answered 400."""
        answer = api.call("GET", "/v1/runs", by=ada)
        assert (answer.status, answer.reason) == (400, "invalid_parameter")

    def test_list_by_status_contains_only_that_status(self, api: RunsApi, ada: Credential) -> None:
        """The status narrows lists by project and by creator."""
        run = api.create(ada)["id"]
        started = api.create(ada)["id"]
        api.call("POST", f"{RUNS}/{started}/start", by=ada)
        for path, query in ((RUNS, {}), ("/v1/runs", {"created_by": "me"})):
            assert ids(pages_of(api, ada, path, query | {"status": "running"})) == [started]
            assert ids(pages_of(api, ada, path, query | {"status": "pending"})) == [run]
            assert ids(pages_of(api, ada, path, query | {"status": "failed"})) == []


class TestCursors:
    """A cursor continues its own query, and is refused by any other."""

    @pytest.fixture
    def cursor(self, api: RunsApi, ada: Credential) -> str:
        """A cursor of a list with one more run."""
        for _ in range(2):
            api.create(ada)
        page = api.call("GET", RUNS, by=ada, query={"limit": "1"})
        cursor: str = page.json["next_cursor"]
        return cursor

    def test_cursor_with_another_limit_is_accepted(
        self, api: RunsApi, ada: Credential, cursor: str
    ) -> None:
        """The limit may differ from page to page."""
        page = api.call("GET", RUNS, by=ada, query={"limit": "5", "cursor": cursor})
        assert len(page.json["runs"]) == 1

    @pytest.mark.parametrize(
        ("path", "query"),
        [
            ("/v1/projects/gemini/runs", {}),
            (RUNS, {"status": "pending"}),
            (RUNS, {"created_by": "ada"}),
            (RUNS, {"created_by": "me"}),
            ("/v1/runs", {"created_by": "me"}),
        ],
    )
    def test_cursor_of_another_query_is_refused(
        self, api: RunsApi, ada: Credential, cursor: str, path: str, query: dict[str, str]
    ) -> None:
        """A cursor of another project or filter is answered 400."""
        answer = api.call("GET", path, by=ada, query={**query, "cursor": cursor})
        assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_cursor_of_another_callers_me_is_refused(
        self, api: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """A cursor for `me` is refused to another caller, because it is another query."""
        for _ in range(2):
            api.create(ada)
        query = {"created_by": "me", "limit": "1"}
        cursor = api.call("GET", "/v1/runs", by=ada, query=query).json["next_cursor"]
        answer = api.call("GET", "/v1/runs", by=grace, query={**query, "cursor": cursor})
        assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_changed_cursor_is_refused(self, api: RunsApi, ada: Credential, cursor: str) -> None:
        """A cursor with any one character changed is answered 400."""
        for place in range(len(cursor)):
            changed = "A" if cursor[place] != "A" else "B"
            tampered = cursor[:place] + changed + cursor[place + 1 :]
            answer = api.call("GET", RUNS, by=ada, query={"cursor": tampered})
            assert (answer.status, answer.reason) == (400, "invalid_cursor")

    @pytest.mark.parametrize(
        "cursor",
        ["x", "%", "ä", "=", "A" * 512, "null", urlsafe_b64encode(b"x" * 40).decode(), "A\n"],
    )
    def test_invalid_cursor_is_refused(self, api: RunsApi, ada: Credential, cursor: str) -> None:
        """Text that is not a cursor is answered 400."""
        answer = api.call("GET", RUNS, by=ada, query={"cursor": cursor})
        assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_forged_cursor_reads_only_its_own_project(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A forged position reads rows of the project alone: the cursor's checksum is no secret."""
        own_run = api.create(ada)["id"]
        api.create(ada, project="gemini")
        binding = repr(RunQuery("apollo", None, None, None))
        forged = encode_cursor("gemini/7" + "Z" * 25, query=binding)
        dynamodb.calls.clear()
        answer = api.call("GET", RUNS, by=ada, query={"cursor": forged})
        assert answer.status == 200
        assert [run["id"] for run in answer.json["runs"]] == [own_run]
        # DynamoDB itself answers a start key outside of the partition with an error.
        [query] = [call for call in dynamodb.calls if call.operation == "Query"]
        assert "ExclusiveStartKey" not in query.document
        assert query.document["ExpressionAttributeValues"][":project"] == {"S": "apollo"}


class TestInvisibleRuns:
    """A list across projects leaves out runs that the caller may not see."""

    @pytest.fixture
    def strict(self, start_api: Callable[..., RunsApi]) -> RunsApi:
        """The function without admins of all projects."""
        return start_api(PROJECT_ADMINS="")

    @pytest.fixture
    def viewer(self, strict: RunsApi, dynamodb: DynamoDb, web: Web) -> Credential:
        """A viewer of `gemini` alone."""
        AccessRows(dynamodb, web).grant("project:viewer", "viewer", project="gemini")
        return web.browser("viewer")

    @pytest.mark.parametrize("limit", ["1", "2", "3", "20"])
    @pytest.mark.parametrize("visible", [[], [4], [0, 3, 9], [7, 8, 9], [0, 1, 2]], ids=str)
    def test_pages_are_the_same_with_and_without_invisible_runs(
        self,
        strict: RunsApi,
        viewer: Credential,
        dynamodb: DynamoDb,
        web: Web,
        limit: str,
        visible: list[int],
    ) -> None:
        """Pages have the same runs and cursors whether invisible runs exist or not."""
        rows = {
            number: (run_id(number), "gemini" if number in visible else "apollo", "ada", "pending")
            for number in range(10)
        }
        query = {"created_by": "ada", "limit": limit}
        put_all(dynamodb, rows_of([rows[number] for number in visible], issuer=web.url))
        visible_pages = [page.body for page in pages_of(strict, viewer, "/v1/runs", query)]
        put_all(dynamodb, rows_of(list(rows.values()), issuer=web.url))
        assert [page.body for page in pages_of(strict, viewer, "/v1/runs", query)] == visible_pages

    def test_creator_of_invisible_runs_is_listed_like_an_unknown_one(
        self, strict: RunsApi, viewer: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """The answer and the reads are the same for a creator without runs."""
        put_all(dynamodb, rows_of([(run_id(1), "apollo", "ada", "pending")], issuer=web.url))
        answers = []
        for creator in ("viewer", "ada", "nobody"):
            dynamodb.calls.clear()
            answer = strict.call("GET", "/v1/runs", by=viewer, query={"created_by": creator})
            answers.append((answer.body, [call.operation for call in dynamodb.calls]))
        assert answers[0] == answers[1] == answers[2]

    @pytest.mark.parametrize(
        ("path", "query"),
        [("/v1/runs", {}), ("/v1/projects/gemini/runs", {}), ("/v1/runs", {"status": "pending"})],
    )
    def test_cursor_after_many_invisible_runs_names_no_project(
        self,
        strict: RunsApi,
        viewer: Credential,
        dynamodb: DynamoDb,
        web: Web,
        path: str,
        query: dict[str, str],
    ) -> None:
        """A page reads a bounded number of rows, and its cursor names no project."""
        last = (run_id(0), "gemini", "ada", "pending")
        invisible = [(run_id(number), "apollo", "ada", "pending") for number in range(1, 1_100)]
        put_all(dynamodb, rows_of([last, *invisible], issuer=web.url))
        dynamodb.calls.clear()
        pages = []
        for page in pages_of(strict, viewer, path, {"created_by": "ada", **query}):
            queries = [call for call in dynamodb.calls if call.operation == "Query"]
            assert sum(call.document["Limit"] for call in queries) <= 600
            dynamodb.calls.clear()
            cursor = page.json["next_cursor"] or ""
            assert b"apollo" not in urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            pages.append(page)
        assert len(pages) > 1
        assert ids(pages) == [run_id(0)]


class TestFilters:
    """Lists with filters over many runs."""

    def test_rare_runs_are_found_among_many_others(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A page reads a bounded number of rows, and its cursor finds the rest."""
        wanted = {3, 4, 250, 649}
        rows = [
            (run_id(number), "apollo", "ada", "failed" if number in wanted else "pending")
            for number in range(650)
        ]
        put_all(dynamodb, rows_of(rows, issuer=web.url))
        dynamodb.calls.clear()
        pages = []
        for page in pages_of(api, ada, RUNS, {"status": "failed", "limit": "10"}):
            pages.append([run["id"] for run in page.json["runs"]])
            queries = [call.document["Limit"] for call in dynamodb.calls]
            assert sum(queries) <= 500
            dynamodb.calls.clear()
        assert len(pages) == 2
        assert [run for page in pages for run in page] == [
            run_id(number) for number in sorted(wanted, reverse=True)
        ]

    def test_pages_of_any_query_contain_each_run_once(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """Pages of any query have each run once, newest first, and none exceeds its limit."""

        @settings(max_examples=40)
        @given(
            runs=st.lists(
                st.tuples(
                    st.integers(0, 999_999).map(run_id),
                    st.sampled_from(["apollo", "gemini"]),
                    st.sampled_from(["ada", "grace", None]),
                    st.sampled_from(STATES),
                ),
                unique_by=lambda run: run[0],
                max_size=20,
            ),
            project=st.sampled_from(["apollo", "gemini", None]),
            creator=st.sampled_from(["ada", "grace", "me", None]),
            status=st.sampled_from([*STATES, None]),
            limit=st.integers(1, 22),
        )
        def pages_contain_each_run_once(
            runs: list[Any],
            project: str | None,
            creator: str | None,
            status: str | None,
            limit: int,
        ) -> None:
            if project is None and creator is None:
                creator = "ada"
            dynamodb.reset()
            tombstone = (run_id(1_000_000), "deleted#apollo", None, "pending")
            put_all(dynamodb, rows_of([*runs, tombstone], issuer=web.url))
            query = {"limit": str(limit)}
            query |= {"created_by": creator} if creator else {}
            query |= {"status": status} if status else {}
            path = f"/v1/projects/{project}/runs" if project else "/v1/runs"
            pages = list(pages_of(api, ada, path, query))
            assert all(len(page.json["runs"]) <= limit for page in pages)
            wanted = [
                run
                for run, in_project, by, in_state in runs
                if project in (in_project, None)
                and creator in (by, None, "me" if by == "ada" else None)
                and status in (in_state, None)
            ]
            assert ids(pages) == sorted(wanted, reverse=True)

        pages_contain_each_run_once()

    def test_many_pages_contain_each_run_once(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """The same holds for more rows than one page may read."""
        stretches = (1, 99, 2, 100, 1, 101, 40, 130, 3, 100)
        states = [
            state for number, size in enumerate(stretches) for state in [STATES[number % 5]] * size
        ]
        runs = [(run_id(number), "apollo", "ada", state) for number, state in enumerate(states)]
        put_all(dynamodb, rows_of(runs, issuer=web.url))

        @settings(max_examples=12)
        @given(status=st.sampled_from(STATES), limit=st.integers(20, 100))
        def pages_contain_each_run_once(status: str, limit: int) -> None:
            pages = list(pages_of(api, ada, RUNS, {"status": status, "limit": str(limit)}))
            assert all(len(page.json["runs"]) <= limit for page in pages)
            wanted = [run for run, _, _, state in runs if state == status]
            assert ids(pages) == wanted[::-1]

        pages_contain_each_run_once()
