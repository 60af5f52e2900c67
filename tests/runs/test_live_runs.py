"""The indexes of live runs: they have exactly the runs that are pending or running."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any

import pytest

from byline.tables.rows import Contended
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.errors import RequestFailed
from serve_runs.runs.queries import ACCOUNTABLE_INDEX, LIVE_INDEX
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.states import LIVE, TRANSITIONS
from serve_runs.runs.store import RunStore
from serve_runs.runs.views import live_partition
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import RunsApi
from tests.runs.table_server import (
    ACCESS_TABLE,
    TABLE,
    DynamoDb,
    LostAnswer,
    Meanwhile,
    Refusal,
    conflict,
)
from tests.runs.test_listing import ids, pages_of, put_all, rows_of, run_id
from tools.index_live_runs import index_live_runs

RUNS = "/v1/projects/apollo/runs"
BACKFILLING = "Cannot read from backfilling global secondary index: by-live"
MISSING = "The table does not have the specified index: by-live"


def index_of(dynamodb: DynamoDb) -> dict[str, str]:
    """The partition of each row in the index, by run id."""
    items = dynamodb.client.scan(TableName=TABLE, IndexName=LIVE_INDEX)["Items"]
    return {item["id"]["S"]: item["live"]["S"] for item in items}


def accountable_of(dynamodb: DynamoDb) -> set[str]:
    """The runs in the index by accountable principal."""
    items = dynamodb.client.scan(TableName=TABLE, IndexName=ACCOUNTABLE_INDEX)["Items"]
    return {item["id"]["S"] for item in items}


def live_of(dynamodb: DynamoDb) -> dict[str, str]:
    """The partition that each live run's row belongs to, by run id."""
    runs = [row for row in dynamodb.rows() if "#" not in row["project"]["S"]]
    return {
        run["id"]["S"]: live_partition(run["project"]["S"], run["status"]["S"])
        for run in runs
        if run["status"]["S"] in LIVE
    }


def queries_of(dynamodb: DynamoDb) -> list[str]:
    """The index that each query since the last call of this function read; empty for the table."""
    found = [
        call.document.get("IndexName", "") for call in dynamodb.calls if call.operation == "Query"
    ]
    dynamodb.calls.clear()
    return found


@pytest.mark.parametrize("changes", [(), ("start",), ("start", "finish"), ("fail",), ("cancel",)])
def test_run_is_in_the_index_exactly_until_it_ends(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, changes: tuple[str, ...]
) -> None:
    """The change that ends a run removes it from the index, and so does its deletion."""
    path = f"{RUNS}/{api.create(ada)['id']}"
    for change in changes:
        assert api.call("POST", f"{path}/{change}", by=ada).status == 200
        assert index_of(dynamodb) == live_of(dynamodb)
        assert accountable_of(dynamodb) == live_of(dynamodb).keys()
    assert bool(index_of(dynamodb)) == (changes in [(), ("start",)])
    assert api.call("DELETE", path, by=ada).status == 204
    assert index_of(dynamodb) == {}
    assert accountable_of(dynamodb) == set()


@pytest.mark.parametrize("fault", [LostAnswer("TransactWriteItems"), conflict()], ids=repr)
@pytest.mark.parametrize("change", ["start", "finish", "fail", "cancel"])
def test_index_is_right_after_a_change_that_is_repeated(
    api: RunsApi, ada: Credential, dynamodb: DynamoDb, change: str, fault: Any
) -> None:
    """A lost answer or a conflict repeats the change, and the run is in the index or not."""
    path = f"{RUNS}/{api.create(ada)['id']}"
    if change == "finish":
        api.call("POST", f"{path}/start", by=ada)
    dynamodb.faults.append(fault)
    assert api.call("POST", f"{path}/{change}", by=ada).status == 200
    assert index_of(dynamodb) == live_of(dynamodb)
    assert accountable_of(dynamodb) == live_of(dynamodb).keys()
    assert bool(index_of(dynamodb)) == (change == "start")


def test_index_is_right_after_concurrent_changes(dynamodb: DynamoDb) -> None:
    """Requests that start, end and delete the same runs at once leave no run too many in it."""
    requests, runs = count(), count()

    def store() -> RunStore:
        audit = AuditTrail(dynamodb.client, ACCESS_TABLE, now=time.time)
        return RunStore(
            dynamodb.client, TABLE, audit=audit, now=time.time, new_id=lambda: run_id(next(runs))
        )

    def action() -> ActionContext:
        return ActionContext(None, f"request-{next(requests)}")

    existing = [
        store().create(CreateRun(), project="apollo", action=action())[0]["id"]["S"]
        for _ in range(12)
    ]

    def act(seed: int) -> None:
        random = Random(seed)  # noqa: S311 - chooses steps of a test
        for _ in range(20):
            run, change = random.choice(existing), random.choice([*TRANSITIONS, "delete"])
            with suppress(RequestFailed, Contended):
                if change == "delete":
                    store().delete("apollo", run, action=action())
                else:
                    store().change("apollo", run, transition=TRANSITIONS[change], action=action())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(act, range(4)))
    states = {row["status"]["S"] for row in dynamodb.rows()}
    assert {"running", "succeeded", "failed", "cancelled"} & states
    assert index_of(dynamodb) == live_of(dynamodb)


class TestLists:
    """Lists of pending and of running runs read the index."""

    @pytest.mark.parametrize("query", [{}, {"created_by": "ada"}, {"created_by": "me"}], ids=str)
    @pytest.mark.parametrize("status", LIVE)
    def test_live_runs_among_many_that_are_over_take_one_query(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        web: Web,
        status: str,
        query: dict[str, str],
    ) -> None:
        """The cost follows from the runs listed, whatever else the project has."""
        other = "pending" if status == "running" else "running"
        states = {3: status, 400: status, 401: other}
        rows = [
            (run_id(number), "apollo", "ada", states.get(number, "succeeded"))
            for number in range(800)
        ]
        put_all(dynamodb, rows_of(rows, issuer=web.url))
        dynamodb.calls.clear()
        pages = list(pages_of(api, ada, RUNS, {**query, "status": status}))
        assert ids(pages) == [run_id(400), run_id(3)]
        assert queries_of(dynamodb) == [LIVE_INDEX]

    def test_page_of_live_runs_reads_one_row_more_than_it_has(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """No filter narrows the list, so no page is read in vain."""
        rows = [(run_id(number), "apollo", "ada", "pending") for number in range(30)]
        put_all(dynamodb, rows_of(rows, issuer=web.url))
        dynamodb.calls.clear()
        page = api.call("GET", RUNS, by=ada, query={"status": "pending", "limit": "7"})
        assert len(page.json["runs"]) == 7
        [query] = [call.document for call in dynamodb.calls if call.operation == "Query"]
        assert query["Limit"] == 8

    @pytest.mark.parametrize("message", [BACKFILLING, MISSING])
    @pytest.mark.parametrize("query", [{}, {"created_by": "ada"}], ids=str)
    def test_list_is_complete_while_the_index_is_filled(
        self,
        api: RunsApi,
        ada: Credential,
        dynamodb: DynamoDb,
        message: str,
        query: dict[str, str],
    ) -> None:
        """An upgrade creates the index; until DynamoDB has filled it, lists read the runs."""
        run = api.create(ada)["id"]
        dynamodb.calls.clear()
        dynamodb.faults.append(
            Refusal("Query", "ValidationException", members={"message": message})
        )
        answer = api.call("GET", RUNS, by=ada, query={**query, "status": "pending"})
        assert [run["id"] for run in answer.json["runs"]] == [run]
        assert queries_of(dynamodb) == [LIVE_INDEX, "by-creator" if query else ""]

    def test_other_error_of_the_query_is_no_list(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """Only an index that cannot be read yet is replaced by the runs."""
        api.create(ada)
        dynamodb.calls.clear()
        dynamodb.faults.append(Refusal("Query", "AccessDeniedException"))
        assert api.call("GET", RUNS, by=ada, query={"status": "pending"}).status >= 500
        assert queries_of(dynamodb) == [LIVE_INDEX]


@pytest.fixture
def outdated(dynamodb: DynamoDb, web: Web) -> DynamoDb:
    """Rows as the release before writes them, during an upgrade too.

    0 and 1 are live and not in the index. 2 ended, 3 started and 4 was deleted after they were
    written into it. 5 and 6 are right.
    """
    states = ["pending", "running", "succeeded", "running", "pending", "failed", "pending"]
    rows = rows_of(
        [(run_id(number), "apollo", "ada", state) for number, state in enumerate(states)],
        issuer=web.url,
    )
    for row in rows[:2]:
        del row["live"]
    for row in rows[2:5]:
        row["live"] = {"S": live_partition("apollo", "pending")}
    rows[4]["project"] = {"S": "deleted#apollo"}
    put_all(dynamodb, rows)
    dynamodb.calls.clear()
    return dynamodb


class TestUpgrade:
    """`tools.index_live_runs` makes the index right after the release before has written."""

    def test_outdated_entries_are_not_listed(
        self, api: RunsApi, ada: Credential, outdated: DynamoDb
    ) -> None:
        """A run that is over or deleted is in no list, even while it is in the index."""
        assert len(index_of(outdated)) == 4
        assert ids(pages_of(api, ada, RUNS, {"status": "pending"})) == [run_id(6)]

    def test_command_makes_the_index_right(
        self, api: RunsApi, ada: Credential, outdated: DynamoDb
    ) -> None:
        """Missing runs are added, others removed. A second time changes nothing."""
        put_all(outdated, [{"project": {"S": "idempotency#apollo"}, "id": {"S": "key"}}])
        assert index_live_runs(outdated.client, TABLE) == 5
        assert index_of(outdated) == live_of(outdated)
        assert ids(pages_of(api, ada, RUNS, {"status": "running"})) == [run_id(3), run_id(1)]
        assert ids(pages_of(api, ada, RUNS, {"status": "pending"})) == [run_id(6), run_id(0)]
        assert index_live_runs(outdated.client, TABLE) == 0

    @pytest.mark.parametrize("end", ["cancel", "delete"])
    def test_run_that_ends_meanwhile_stays_out_of_the_index(
        self, outdated: DynamoDb, end: str
    ) -> None:
        """The command writes only to the row that it has read, and reads a changed one again."""
        audit = AuditTrail(outdated.client, ACCESS_TABLE, now=time.time)
        store = RunStore(outdated.client, TABLE, audit=audit, now=time.time, new_id=str)
        action = ActionContext(None, "another")
        ends: dict[str, Callable[[], object]] = {
            "cancel": lambda: store.change(
                "apollo", run_id(0), transition=TRANSITIONS["cancel"], action=action
            ),
            "delete": lambda: store.delete("apollo", run_id(0), action=action),
        }
        outdated.faults.append(Meanwhile("UpdateItem", ends[end]))
        index_live_runs(outdated.client, TABLE)
        assert index_of(outdated) == live_of(outdated)
        assert run_id(0) not in index_of(outdated)
