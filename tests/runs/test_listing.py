"""Listings: newest first, page after page, nothing lost and nothing doubled."""

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
from serve_runs.runs.views import new_item
from serve_runs.web.paging import encode_cursor
from tests.runs.identity_server import Credential, Web
from tests.runs.rights_given import Rights
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import TABLE, DynamoDb

STATES = ("pending", "running", "succeeded", "failed", "cancelled")
RUNS = "/v1/projects/apollo/runs"


def rows_of(
    runs: Sequence[tuple[str, str, str | None, str]], *, issuer: str, labels: int = 0
) -> list[Item]:
    """Rows of (id, project, creator, status)."""
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
                given_name="Somebody",  # a row without names would be looked up
            )
        body = CreateRun(labels={f"label-{number}": '"' * 256 for number in range(labels)})
        row = new_item(
            body, project=project, run_id=run_id, action=ActionContext(creator, "seed"), at=0
        )
        rows.append(row | {"status": {"S": status}})
    return rows


def put_all(dynamodb: DynamoDb, rows: Sequence[Item]) -> None:
    client = dynamodb.client
    for start in range(0, len(rows), 25):
        batch = [{"PutRequest": {"Item": row}} for row in rows[start : start + 25]]
        client.batch_write_item(RequestItems={TABLE: batch})


def walk(api: RunsApi, by: Credential, path: str, query: dict[str, str]) -> Iterator[Answer]:
    """The pages of a listing, to its end."""
    cursor: dict[str, str] = {}
    while True:
        page = api.call("GET", path, by=by, query={**query, **cursor})
        assert page.status == 200, page.body
        yield page
        if page.json["next_cursor"] is None:
            return
        cursor = {"cursor": page.json["next_cursor"]}


def ids(pages: Iterable[Answer]) -> list[str]:
    return [run["id"] for page in pages for run in page.json["runs"]]


def run_id(number: int) -> str:
    """Ids that sort as their numbers."""
    return f"01JD9XK3T5ZQ8W7V6R5N{number:06}"


def test_runs_come_newest_first(api: RunsApi, ada: Credential) -> None:
    """Runs are listed newest first, by project and by creator."""
    created = [api.create(ada, name=str(number))["id"] for number in range(3)]
    for path, query in ((RUNS, {}), ("/v1/runs", {"created_by": "ada"})):
        assert ids(walk(api, ada, path, query)) == created[::-1]


@pytest.mark.parametrize(("limit", "status"), [("0", 400), ("1", 200), ("100", 200), ("101", 400)])
def test_limit_is_from_1_to_100(api: RunsApi, ada: Credential, limit: str, status: int) -> None:
    """The boundaries, in pairs."""
    assert api.call("GET", RUNS, by=ada, query={"limit": limit}).status == status


@pytest.mark.parametrize("runs", [19, 20, 21])
def test_page_has_20_runs_unless_told(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web, runs: int
) -> None:
    """A cursor comes exactly when there is more."""
    rows = [(run_id(number), "apollo", "ada", "pending") for number in range(runs)]
    put_all(dynamodb, rows_of(rows, issuer=web.url))
    page = api.call("GET", RUNS, by=ada).json
    assert len(page["runs"]) == min(runs, 20)
    assert (page["next_cursor"] is None) == (runs <= 20)


@pytest.mark.parametrize("runs", [4, 5, 6])
def test_page_without_filter_costs_one_query(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web, runs: int
) -> None:
    """One more row than asked for tells whether there is more: nothing is read for that alone."""
    rows = [(run_id(number), "apollo", "ada", "pending") for number in range(runs)]
    put_all(dynamodb, rows_of(rows, issuer=web.url))
    dynamodb.calls.clear()
    assert len(api.call("GET", RUNS, by=ada, query={"limit": "5"}).json["runs"]) == min(runs, 5)
    assert [call.operation for call in dynamodb.calls] == ["Query"]


def test_answer_stays_below_what_a_load_balancer_takes(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """100 large runs are more than 1 MB: the page ends early, and its cursor goes on."""
    rows = [(run_id(number), "apollo", "ada", "pending") for number in range(100)]
    put_all(dynamodb, rows_of(rows, issuer=web.url, labels=32))
    pages = list(walk(api, ada, RUNS, {"limit": "100"}))
    assert len(pages) > 1
    assert all(len(answer) < 1_048_576 for answer in api.said)
    assert ids(pages) == [row[0] for row in reversed(rows)]


class TestCreators:
    """Listing by creator returns the runs of that creator."""

    def test_me_is_the_caller_and_nobody_of_the_same_subject(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A person is (issuer, subject): another issuer's `ada` is not me."""
        mine = api.create(ada)["id"]
        theirs = rows_of([(run_id(1), "apollo", "ada", "pending")], issuer="https://other.example")
        put_all(dynamodb, theirs)
        for path in ("/v1/runs", RUNS):
            assert ids(walk(api, ada, path, {"created_by": "me"})) == [mine]
            assert ids(walk(api, ada, path, {"created_by": "ada"})) == [mine, run_id(1)]
        assert ids(walk(api, web.bearer("ada"), "/v1/runs", {"created_by": "me"})) == [mine]

    def test_creator_is_listed_across_projects(
        self, api: RunsApi, ada: Credential, grace: Credential, nightly: Credential
    ) -> None:
        """Profiles and service accounts alike, and each project alone."""
        first = api.create(ada, project="apollo")["id"]
        second = api.create(ada, project="gemini")["id"]
        third = api.create(nightly, project="gemini")["id"]
        assert ids(walk(api, grace, "/v1/runs", {"created_by": "ada"})) == [second, first]
        assert ids(walk(api, grace, "/v1/runs", {"created_by": "nightly"})) == [third]
        assert ids(walk(api, nightly, "/v1/runs", {"created_by": "me"})) == [third]
        assert ids(walk(api, grace, RUNS, {"created_by": "ada"})) == [first]
        assert ids(walk(api, grace, "/v1/runs", {"created_by": "nobody"})) == []

    def test_creator_with_any_characters_is_found(
        self, api: RunsApi, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A subject may hold what a query must escape."""
        Rights(dynamodb, web).give("project:editor", "auth0|ä+b &c=d%2e/?#☃")
        odd = web.browser("auth0|ä+b &c=d%2e/?#☃")
        run = api.create(odd)["id"]
        query = {"created_by": "auth0|ä+b &c=d%2e/?#☃"}
        assert ids(walk(api, odd, "/v1/runs", query)) == [run]

    def test_listing_across_projects_needs_a_creator(self, api: RunsApi, ada: Credential) -> None:
        """All runs of all projects are in no index: 400, never a scan."""
        answer = api.call("GET", "/v1/runs", by=ada)
        assert (answer.status, answer.reason) == (400, "invalid_parameter")

    def test_status_narrows(self, api: RunsApi, ada: Credential) -> None:
        """By project and by creator."""
        run = api.create(ada)["id"]
        started = api.create(ada)["id"]
        api.call("POST", f"{RUNS}/{started}/start", by=ada)
        for path, query in ((RUNS, {}), ("/v1/runs", {"created_by": "me"})):
            assert ids(walk(api, ada, path, query | {"status": "running"})) == [started]
            assert ids(walk(api, ada, path, query | {"status": "pending"})) == [run]
            assert ids(walk(api, ada, path, query | {"status": "failed"})) == []


class TestCursors:
    """A cursor goes on with its own query, or is refused."""

    @pytest.fixture
    def cursor(self, api: RunsApi, ada: Credential) -> str:
        for _ in range(2):
            api.create(ada)
        page = api.call("GET", RUNS, by=ada, query={"limit": "1"})
        cursor: str = page.json["next_cursor"]
        return cursor

    def test_cursor_goes_on_with_another_limit(
        self, api: RunsApi, ada: Credential, cursor: str
    ) -> None:
        """How many come at once is no part of the query."""
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
        """400: where it would go on is no place of this listing."""
        answer = api.call("GET", path, by=ada, query={**query, "cursor": cursor})
        assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_my_cursor_is_not_anothers(
        self, api: RunsApi, ada: Credential, grace: Credential
    ) -> None:
        """`me` is another query for everybody."""
        for _ in range(2):
            api.create(ada)
        query = {"created_by": "me", "limit": "1"}
        cursor = api.call("GET", "/v1/runs", by=ada, query=query).json["next_cursor"]
        answer = api.call("GET", "/v1/runs", by=grace, query={**query, "cursor": cursor})
        assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_changed_cursor_is_refused(self, api: RunsApi, ada: Credential, cursor: str) -> None:
        """Every single character counts."""
        for place in range(len(cursor)):
            changed = "A" if cursor[place] != "A" else "B"
            tampered = cursor[:place] + changed + cursor[place + 1 :]
            answer = api.call("GET", RUNS, by=ada, query={"cursor": tampered})
            assert (answer.status, answer.reason) == (400, "invalid_cursor")

    @pytest.mark.parametrize(
        "cursor",
        ["x", "%", "ä", "=", "A" * 512, "null", urlsafe_b64encode(b"x" * 40).decode(), "A\n"],
    )
    def test_cursor_that_is_none_is_refused(
        self, api: RunsApi, ada: Credential, cursor: str
    ) -> None:
        """Whatever it is, it is 400."""
        answer = api.call("GET", RUNS, by=ada, query={"cursor": cursor})
        assert (answer.status, answer.reason) == (400, "invalid_cursor")

    def test_forged_cursor_never_leaves_its_listing(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """The check is no secret. Who forges one still reads this project's rows, and no error."""
        mine = api.create(ada)["id"]
        api.create(ada, project="gemini")
        binding = repr(RunQuery("apollo", None, None, None))
        forged = encode_cursor("gemini/7" + "Z" * 25, query=binding)
        dynamodb.calls.clear()
        answer = api.call("GET", RUNS, by=ada, query={"cursor": forged})
        assert answer.status == 200
        assert [run["id"] for run in answer.json["runs"]] == [mine]
        # DynamoDB itself answers a start key outside of the partition with an error.
        [query] = [call for call in dynamodb.calls if call.operation == "Query"]
        assert "ExclusiveStartKey" not in query.document
        assert query.document["ExpressionAttributeValues"][":project"] == {"S": "apollo"}


class TestHiddenRuns:
    """A list across projects leaves out runs that the caller may not see."""

    @pytest.fixture
    def strict(self, start_api: Callable[..., RunsApi]) -> RunsApi:
        """Nobody administers everything."""
        return start_api(PROJECT_ADMINS="")

    @pytest.fixture
    def viewer(self, strict: RunsApi, dynamodb: DynamoDb, web: Web) -> Credential:
        """Somebody who sees `gemini` alone."""
        Rights(dynamodb, web).give("project:viewer", "viewer", project="gemini")
        return web.browser("viewer")

    @pytest.mark.parametrize("limit", ["1", "2", "3", "20"])
    @pytest.mark.parametrize("visible", [[], [4], [0, 3, 9], [7, 8, 9], [0, 1, 2]], ids=str)
    def test_pages_are_as_if_there_were_no_others(
        self,
        strict: RunsApi,
        viewer: Credential,
        dynamodb: DynamoDb,
        web: Web,
        limit: str,
        visible: list[int],
    ) -> None:
        """The same runs on the same pages, with the same cursors."""
        rows = {
            number: (run_id(number), "gemini" if number in visible else "apollo", "ada", "pending")
            for number in range(10)
        }
        query = {"created_by": "ada", "limit": limit}
        put_all(dynamodb, rows_of([rows[number] for number in visible], issuer=web.url))
        alone = [page.body for page in walk(strict, viewer, "/v1/runs", query)]
        put_all(dynamodb, rows_of(list(rows.values()), issuer=web.url))
        assert [page.body for page in walk(strict, viewer, "/v1/runs", query)] == alone

    def test_creator_of_hidden_runs_alone_is_like_one_of_none(
        self, strict: RunsApi, viewer: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """The same answer, and the same reads."""
        put_all(dynamodb, rows_of([(run_id(1), "apollo", "ada", "pending")], issuer=web.url))
        seen = []
        for creator in ("viewer", "ada", "nobody"):
            dynamodb.calls.clear()
            answer = strict.call("GET", "/v1/runs", by=viewer, query={"created_by": creator})
            seen.append((answer.body, [call.operation for call in dynamodb.calls]))
        assert seen[0] == seen[1] == seen[2]

    @pytest.mark.parametrize(
        ("path", "query"),
        [("/v1/runs", {}), ("/v1/projects/gemini/runs", {}), ("/v1/runs", {"status": "pending"})],
    )
    def test_cursor_that_goes_on_behind_very_many_names_no_project(
        self,
        strict: RunsApi,
        viewer: Credential,
        dynamodb: DynamoDb,
        web: Web,
        path: str,
        query: dict[str, str],
    ) -> None:
        """A page reads a bounded number of rows, whosever they are; the next ones find the rest."""
        last = (run_id(0), "gemini", "ada", "pending")
        hidden = [(run_id(number), "apollo", "ada", "pending") for number in range(1, 1_100)]
        put_all(dynamodb, rows_of([last, *hidden], issuer=web.url))
        dynamodb.calls.clear()
        pages = []
        for page in walk(strict, viewer, path, {"created_by": "ada", **query}):
            queries = [call for call in dynamodb.calls if call.operation == "Query"]
            assert sum(call.document["Limit"] for call in queries) <= 600
            dynamodb.calls.clear()
            cursor = page.json["next_cursor"] or ""
            assert b"apollo" not in urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            pages.append(page)
        assert len(pages) > 1
        assert ids(pages) == [run_id(0)]


class TestFilters:
    """What is asked for may be far apart."""

    def test_rare_runs_are_found_behind_many_others(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A page reads a bounded number of rows; its cursor goes on, and finds the rest."""
        wanted = {3, 4, 250, 649}
        rows = [
            (run_id(number), "apollo", "ada", "failed" if number in wanted else "pending")
            for number in range(650)
        ]
        put_all(dynamodb, rows_of(rows, issuer=web.url))
        dynamodb.calls.clear()
        pages = []
        for page in walk(api, ada, RUNS, {"status": "failed", "limit": "10"}):
            pages.append([run["id"] for run in page.json["runs"]])
            queries = [call.document["Limit"] for call in dynamodb.calls]
            assert sum(queries) <= 500
            dynamodb.calls.clear()
        assert len(pages) == 2
        assert [run for page in pages for run in page] == [
            run_id(number) for number in sorted(wanted, reverse=True)
        ]

    def test_any_walk_finds_all_runs_once_newest_first(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """Any runs, any filter, any limit: nothing lost, nothing doubled, no page too long."""

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
        def walk_finds_all(
            runs: list[Any],
            project: str | None,
            creator: str | None,
            status: str | None,
            limit: int,
        ) -> None:
            if project is None and creator is None:
                creator = "ada"
            dynamodb.reset()
            buried = (run_id(1_000_000), "deleted#apollo", None, "pending")
            put_all(dynamodb, rows_of([*runs, buried], issuer=web.url))
            query = {"limit": str(limit)}
            query |= {"created_by": creator} if creator else {}
            query |= {"status": status} if status else {}
            path = f"/v1/projects/{project}/runs" if project else "/v1/runs"
            pages = list(walk(api, ada, path, query))
            assert all(len(page.json["runs"]) <= limit for page in pages)
            wanted = [
                run
                for run, in_project, by, in_state in runs
                if project in (in_project, None)
                and creator in (by, None, "me" if by == "ada" else None)
                and status in (in_state, None)
            ]
            assert ids(pages) == sorted(wanted, reverse=True)

        walk_finds_all()

    def test_walk_over_many_pages_finds_all_runs_once(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """The same over more rows than one answer may read, in stretches of one state."""
        stretches = (1, 99, 2, 100, 1, 101, 40, 130, 3, 100)
        states = [
            state for number, size in enumerate(stretches) for state in [STATES[number % 5]] * size
        ]
        runs = [(run_id(number), "apollo", "ada", state) for number, state in enumerate(states)]
        put_all(dynamodb, rows_of(runs, issuer=web.url))

        @settings(max_examples=12)
        @given(status=st.sampled_from(STATES), limit=st.integers(20, 100))
        def walk_finds_all(status: str, limit: int) -> None:
            pages = list(walk(api, ada, RUNS, {"status": status, "limit": str(limit)}))
            assert all(len(page.json["runs"]) <= limit for page in pages)
            wanted = [run for run, _, _, state in runs if state == status]
            assert ids(pages) == wanted[::-1]

        walk_finds_all()
