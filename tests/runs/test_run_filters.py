"""Filters of the lists of runs: who started it, agent, runner, parent, label and times."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ulid import ULID

from byline.identity.caller import Caller
from byline.tables.rows import Item, rfc3339
from serve_runs.audit.trail import ActionContext
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.views import actor_attributes, new_item
from tests.runs.access_rows import AccessRows
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import DynamoDb
from tests.runs.test_listing import ids, pages_of, put_all

RUNS = "/v1/projects/apollo/runs"
EVERYWHERE = "/v1/runs"
AT = 1_795_000_000
"""The time of the first run, seconds since the epoch."""

PARENTS = tuple(str(ULID.from_timestamp(AT - number)) for number in (1, 2))
STARTERS = ("ada", "grace", None)
AGENTS = ("trainer", "planner", None)
RUNNERS = ("gpu-1", "gpu-2", None)
LABELS: tuple[dict[str, str], ...] = (
    {},
    {"team": "ml"},
    {"team": "ml", "a.b/c": "x=y"},
    {"team": ""},
)


def run_id(second: float, number: int = 1) -> str:
    """The id of a run that was created this many seconds after `AT`."""
    milliseconds = round((AT + second) * 1000)
    return str(ULID(milliseconds.to_bytes(6) + number.to_bytes(10)))


def caller(web: Web, subject: str, kind: Any = "user", issuer: str = "") -> Caller:
    """A caller with a name, so that a list reads no profiles."""
    return Caller(kind, "bearer", issuer or web.url, subject, subject, subject, "Some", "Body")


def row(web: Web, run: str, starter: Caller | None = None, **body: Any) -> Item:
    """The row of a run of Ada's in `apollo`."""
    created = ActionContext(caller(web, "ada"), "seed")
    item = new_item(CreateRun(**body), project="apollo", run_id=run, action=created, at=AT)
    return item | (actor_attributes("started", ActionContext(starter, "seed")) if starter else {})


class TestStarters:
    """`started_by`: a person or an application by kind, issuer and subject."""

    @pytest.fixture
    def starters(self, dynamodb: DynamoDb, web: Web) -> dict[str, str]:
        """The ids of runs by their starters."""
        known = {
            "grace": caller(web, "grace"),
            "grace elsewhere": caller(web, "grace", issuer="https://other.example"),
            "application grace": caller(web, "grace", "application"),
            "grac": caller(web, "grac"),
            'gra"ce': caller(web, 'gra"ce'),
            "nobody": None,
        }
        runs = {name: run_id(number) for number, name in enumerate(known)}
        put_all(dynamodb, [row(web, runs[name], starter) for name, starter in known.items()])
        return runs

    @pytest.mark.parametrize("path", [RUNS, EVERYWHERE])
    def test_starter_is_kind_issuer_and_subject(
        self, api: RunsApi, ada: Credential, web: Web, starters: dict[str, str], path: str
    ) -> None:
        """No run of another issuer's subject, of an application, or of a similar subject is listed.

        A subject alone is a person of the issuer that browsers sign in with.
        """
        for text, name in {
            "grace": "grace",
            f"user:{web.url}#grace": "grace",
            "user:https://other.example#grace": "grace elsewhere",
            f"application:{web.url}#grace": "application grace",
            "grac": "grac",
            'gra"ce': 'gra"ce',
        }.items():
            query = {"created_by": "ada", "started_by": text}
            assert ids(pages_of(api, ada, path, query)) == [starters[name]]
        assert ids(pages_of(api, ada, RUNS, {"started_by": "gra"})) == []

    def test_me_is_the_caller(
        self, api: RunsApi, ada: Credential, grace: Credential, starters: dict[str, str]
    ) -> None:
        """`me` finds what the caller started, whoever created it."""
        del starters
        run = api.create(ada)["id"]
        api.call("POST", f"{RUNS}/{run}/start", by=grace)
        assert run in ids(pages_of(api, grace, RUNS, {"started_by": "me"}))
        assert ids(pages_of(api, ada, RUNS, {"started_by": "me"})) == []

    def test_e_mail_address_names_its_owner(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """The e-mail address of a person who has called finds what the person started."""
        AccessRows(dynamodb, web).grant("project:editor", "vera")
        vera = web.browser("vera", email="vera@example.com")
        run = api.create(ada)["id"]
        assert api.call("POST", f"{RUNS}/{run}/start", by=vera).status == 200
        found = api.call("GET", RUNS, by=ada, query={"started_by": "Vera@example.com"}).json
        assert [each["id"] for each in found["runs"]] == [run]
        assert found["more_people"] is False

    @pytest.mark.parametrize("text", ["unknown:https://x.example#a", "user:x", "user:" + "a" * 836])
    def test_text_that_is_no_principal_is_refused(
        self, api: RunsApi, ada: Credential, text: str
    ) -> None:
        """Nobody can be meant, so the request is answered 400."""
        answer = api.call("GET", RUNS, by=ada, query={"started_by": text})
        assert (answer.status, answer.reason) == (400, "invalid_parameter")
        assert "started_by" in answer.json["detail"]


class TestTimes:
    """`since` and `until`: by the time in a run's id."""

    @pytest.mark.parametrize(
        ("since", "until", "found"),
        [
            (10, None, [30, 20, 10]),
            (10.001, None, [30, 20]),
            (None, 20, [10, 0]),
            (None, 20.001, [20, 10, 0]),
            (10, 20, [10]),
            (10.0005, 20.0005, [20, 10]),
            (0.001, 10, []),
            (31, None, []),
            (None, 0, []),
        ],
    )
    @pytest.mark.parametrize("limit", ["1", "2", "20"])
    def test_since_is_included_and_until_is_not(  # noqa: PLR0917 - cases
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        web: Web,
        since: float | None,
        until: float | None,
        found: list[int],
        limit: str,
    ) -> None:
        """A run of the very millisecond of `since` is listed, and one of `until` is not."""
        put_all(dynamodb, [row(web, run_id(second)) for second in (0, 10, 20, 30)])
        query = {"limit": limit}
        for name, second in (("since", since), ("until", until)):
            if second is not None:
                query[name] = (
                    datetime.fromtimestamp(AT, UTC) + timedelta(seconds=second)
                ).isoformat()
        for path, more in ((RUNS, {}), (EVERYWHERE, {"created_by": "ada"})):
            pages = pages_of(api, ada, path, {**query, **more})
            assert ids(pages) == [run_id(second) for second in found]

    @pytest.mark.parametrize("first", [0, 1, 2**80 - 1])
    def test_all_runs_of_a_millisecond_are_between_its_bounds(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web, first: int
    ) -> None:
        """The bounds include every id that a run of the time may have."""
        put_all(dynamodb, [row(web, run_id(0, first))])
        inside = {"since": rfc3339(AT), "until": rfc3339(AT + 0.001)}
        assert ids(pages_of(api, ada, RUNS, inside)) == [run_id(0, first)]
        for outside in ({"until": rfc3339(AT)}, {"since": rfc3339(AT + 0.001)}):
            assert ids(pages_of(api, ada, RUNS, outside)) == []

    def test_page_of_a_time_makes_one_query(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """Times are conditions on the key: older and newer runs are not read."""
        put_all(dynamodb, [row(web, run_id(second)) for second in range(60)])
        dynamodb.calls.clear()
        query = {"since": rfc3339(AT + 20), "until": rfc3339(AT + 25)}
        assert len(api.call("GET", RUNS, by=ada, query=query).json["runs"]) == 5
        [request] = [call.document for call in dynamodb.calls]
        assert "BETWEEN" in request["KeyConditionExpression"]
        assert request["Limit"] == 21

    @pytest.mark.parametrize(
        "query",
        [
            {"since": "2026-11-27"},
            {"since": "2026-11-27T03:00:00"},
            {"since": "yesterday"},
            {"until": "1970-01-01T00:00:00Z"},
            {"since": rfc3339(AT), "until": rfc3339(AT)},
            {"since": rfc3339(AT + 1), "until": rfc3339(AT)},
        ],
    )
    def test_time_that_names_no_runs_is_refused(
        self, api: RunsApi, ada: Credential, query: dict[str, str]
    ) -> None:
        """A time without a zone, and an end before its beginning, are answered 400."""
        answer = api.call("GET", RUNS, by=ada, query=query)
        assert (answer.status, answer.reason) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    "query",
    [
        {"label": "team"},
        {"label": "=ml"},
        {"label": "te am=ml"},
        {"label": "team=" + "a" * 257},
        {"label": "team=a\n"},
        {"runner": "A"},
        {"parent_run": "x"},
        {"agent": ""},
    ],
)
def test_filter_that_no_run_can_pass_is_refused(
    api: RunsApi, ada: Credential, query: dict[str, str]
) -> None:
    """A value that no run can have is answered 400."""
    answer = api.call("GET", RUNS, by=ada, query=query)
    assert (answer.status, answer.reason) == (400, "invalid_parameter")


def test_list_across_projects_by_another_filter_alone_is_refused(
    api: RunsApi, ada: Credential
) -> None:
    """No key serves it: only a creator or a person has an index across projects."""
    answer = api.call("GET", EVERYWHERE, by=ada, query={"label": "team=ml"})
    assert (answer.status, answer.reason) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    "narrowed", [{}, {"created_by": "me"}, {"person": "me"}, {"status": "running"}]
)
def test_filters_narrow_every_list(api: RunsApi, ada: Credential, narrowed: dict[str, str]) -> None:
    """All filters together find a run in the list of a project, creator, person and state."""
    parent = api.create(ada)["id"]
    body: dict[str, Any] = {"agent": "trainer", "runner": "gpu-1", "labels": {"team": "ml"}}
    run = api.create(ada, **body, parent_run=parent)["id"]
    api.create(ada, agent="trainer")
    api.call("POST", f"{RUNS}/{run}/start", by=ada)
    query = {"agent": "trainer", "runner": "gpu-1", "label": "team=ml", "parent_run": parent}
    query |= {"started_by": "me", "since": rfc3339(AT - 86_400), "until": "2100-01-01T00:00:00Z"}
    assert ids(pages_of(api, ada, RUNS, narrowed | query)) == [run]


def test_cursor_of_another_filter_is_refused(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A cursor continues the list with the same filters only."""
    put_all(dynamodb, [row(web, run_id(second), agent="trainer") for second in range(3)])
    query = {"agent": "trainer", "limit": "1"}
    cursor = api.call("GET", RUNS, by=ada, query=query).json["next_cursor"]
    for other in ({}, {"agent": "planner"}, {"agent": "trainer", "since": rfc3339(AT)}):
        answer = api.call("GET", RUNS, by=ada, query={**other, "limit": "1", "cursor": cursor})
        assert (answer.status, answer.reason) == (400, "invalid_cursor")


def test_rare_runs_among_many_take_a_bounded_number_of_pages(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """A page reads at most 500 rows, and its cursor goes on until all are found."""
    wanted = {3, 250, 649}
    labels = ({"team": "ml"}, {"team": "web"})
    put_all(dynamodb, [row(web, run_id(n), labels=labels[n not in wanted]) for n in range(650)])
    dynamodb.calls.clear()
    found = []
    for page in pages_of(api, ada, RUNS, {"label": "team=ml", "since": rfc3339(AT)}):
        found += ids([page])
        assert sum(call.document["Limit"] for call in dynamodb.calls) <= 500
        dynamodb.calls.clear()
    assert found == [run_id(number) for number in sorted(wanted, reverse=True)]


def test_pages_of_any_filters_have_each_run_once(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
) -> None:
    """Whatever filters are combined, the pages have exactly the runs that pass all of them."""
    AccessRows(dynamodb, web).grant("project:viewer", "ada")
    a_run = st.tuples(
        st.integers(0, 40),
        *map(st.sampled_from, (STARTERS, AGENTS, RUNNERS, (*PARENTS, None), LABELS)),
    )

    @settings(max_examples=60)
    @given(
        runs=st.lists(a_run, unique_by=lambda run: run[0], max_size=12),
        starter=st.sampled_from(STARTERS),
        agent=st.sampled_from(AGENTS),
        runner=st.sampled_from(RUNNERS),
        parent=st.sampled_from((*PARENTS, None)),
        label=st.sampled_from((("team", "ml"), ("a.b/c", "x=y"), ("team", ""), None)),
        times=st.tuples(st.integers(0, 20) | st.none(), st.integers(21, 40) | st.none()),
        limit=st.integers(1, 13),
        is_across=st.booleans(),
    )
    def check(  # noqa: PLR0917 - filters
        runs: list[Any],
        starter: str | None,
        agent: str | None,
        runner: str | None,
        parent: str | None,
        label: tuple[str, str] | None,
        times: tuple[int | None, int | None],
        limit: int,
        is_across: bool,  # noqa: FBT001 - drawn
    ) -> None:
        dynamodb.reset()
        rows = []
        for second, by, agent_of, runner_of, parent_of, labels in runs:
            body = {"agent": agent_of, "runner": runner_of, "parent_run": parent_of}
            starter_of = caller(web, by) if by else None
            rows.append(row(web, run_id(second), starter_of, labels=labels, **body))
        put_all(dynamodb, rows)
        since, until = times
        query = {
            "started_by": starter,
            "agent": agent,
            "runner": runner,
            "parent_run": parent,
            "label": label and "=".join(label),
            "since": None if since is None else rfc3339(AT + since),
            "until": None if until is None else rfc3339(AT + until),
            "created_by": "ada" if is_across else None,
            "limit": str(limit),
        }
        given_ones = {name: value for name, value in query.items() if value is not None}
        pages = list(pages_of(api, ada, EVERYWHERE if is_across else RUNS, given_ones))
        assert all(len(page.json["runs"]) <= limit for page in pages)
        wanted = [
            run_id(second)
            for second, by, agent_of, runner_of, parent_of, labels in runs
            if starter in (by, None)
            and agent in (agent_of, None)
            and runner in (runner_of, None)
            and parent in (parent_of, None)
            and (label is None or labels.get(label[0]) == label[1])
            and (since is None or second >= since)
            and (until is None or second < until)
        ]
        assert ids(pages) == sorted(wanted, reverse=True)

    check()
