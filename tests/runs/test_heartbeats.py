"""Heartbeats of runs: a running run that stops sending them becomes lost, and may come back."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from byline.heartbeats import HEARTBEAT_INDEX, SHARDS, shard_of
from byline.tables.rows import WRITE_ATTEMPTS, Contended, Item
from plan_refresh.lost_runs import LostRuns
from serve_runs.runs.views import live_partition, run_key
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, RunsApi
from tests.runs.table_server import (
    ACCESS_TABLE,
    TABLE,
    DynamoDb,
    LostAnswer,
    Meanwhile,
    Refusal,
    conflict,
)
from tests.runs.test_listing import ids, pages_of

RUNS = "/v1/projects/apollo/runs"
ENDS = {"finish": "succeeded", "fail": "failed", "cancel": "cancelled"}


def marker(dynamodb: DynamoDb, *, retention_days: int = 0) -> LostRuns:
    """The part of PlanRefreshFunction that marks lost runs, as one tick has it."""
    return LostRuns(
        client=dynamodb.client,
        runs_table=TABLE,
        access_table=ACCESS_TABLE,
        audit_retention_days=retention_days,
        logger=Logger(service="byline"),
    )


def mark(dynamodb: DynamoDb, at: float, request: str = "tick") -> int:
    """How many runs a tick at this time marks as lost. It must not fail."""
    before = len(records_of_losses(dynamodb))
    assert marker(dynamodb).mark(now=at, request_id=request, may_go_on=lambda: True) == []
    return len(records_of_losses(dynamodb)) - before


def records_of_losses(dynamodb: DynamoDb) -> list[Item]:
    """The audit records of marks, one for each run that was lost."""
    items = dynamodb.client.scan(TableName=ACCESS_TABLE)["Items"]
    return [item for item in items if item.get("action") == {"S": "lose_run"}]


def running(api: RunsApi, by: Credential, seconds: int | None = 120) -> dict[str, Any]:
    """A running run that may be silent for so long; one without heartbeats for None."""
    body: dict[str, Any] = {} if seconds is None else {"heartbeat_seconds": seconds}
    run = api.create(by, **body)
    answer = post(api, by, run, "start")
    assert answer.status == 200
    document: dict[str, Any] = answer.json
    return document


def post(api: RunsApi, by: Credential, run: dict[str, Any], what: str) -> Answer:
    """Send a heartbeat or a change of state."""
    return api.call("POST", f"{RUNS}/{run['id']}/{what}", by=by)


def row(dynamodb: DynamoDb, run: dict[str, Any]) -> Item:
    """The row of a run."""
    key = run_key("apollo", run["id"])
    found: Item = dynamodb.client.get_item(TableName=TABLE, Key=key)["Item"]
    return found


def due(dynamodb: DynamoDb, run: dict[str, Any]) -> int:
    """When a running run is lost."""
    return int(row(dynamodb, run)["heartbeat_due"]["N"])


def indexed(dynamodb: DynamoDb) -> set[str]:
    """The ids of the runs in the index of heartbeats."""
    items = dynamodb.client.scan(TableName=TABLE, IndexName=HEARTBEAT_INDEX)["Items"]
    return {item["id"]["S"] for item in items}


def records(api: RunsApi, by: Credential, run: dict[str, Any]) -> list[dict[str, Any]]:
    """The audit records of a run, the oldest first."""
    answer = api.call("GET", "/v1/projects/apollo/audit", by=by, query={"run": run["id"]})
    found: list[dict[str, Any]] = answer.json["records"]
    return found[::-1]


class TestSending:
    """`POST …/heartbeat` of running runs."""

    def test_heartbeat_is_one_write_without_a_record(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A heartbeat moves the time of the loss, changes nothing else and reads no row."""
        run = running(api, ada)
        before = row(dynamodb, run)
        dynamodb.calls.clear()
        answer = post(api, ada, run, "heartbeat")
        assert [call.operation for call in dynamodb.calls] == ["UpdateItem"]
        after = row(dynamodb, run)
        assert after.keys() == before.keys()
        changed = {name for name in after if after[name] != before[name]}
        assert changed <= {"heartbeat_at", "heartbeat_due"}
        assert answer.status == 200
        assert answer.json == run | {"heartbeat_at": answer.json["heartbeat_at"]}
        assert answer.json["heartbeat_at"] > run["heartbeat_at"]
        assert [each["action"] for each in records(api, ada, run)] == ["create_run", "start_run"]

    @pytest.mark.parametrize("seconds", [10, 3_600])
    def test_silence_is_counted_from_the_start_and_from_each_heartbeat(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, seconds: int
    ) -> None:
        """The time is never shorter than allowed, and less than two seconds longer."""
        pending = api.create(ada, heartbeat_seconds=seconds)
        assert indexed(dynamodb) == set()
        for what in ("start", "heartbeat"):
            earliest = time.time()
            post(api, ada, pending, what)
            assert earliest + seconds <= due(dynamodb, pending) < time.time() + seconds + 2
        assert indexed(dynamodb) == {pending["id"]}

    @pytest.mark.parametrize("seconds", [9, 3_601, 0, -1, 10.5, "120", None, True])
    def test_other_times_of_silence_are_refused(
        self, api: RunsApi, ada: Credential, seconds: object
    ) -> None:
        """`heartbeat_seconds` is a whole number from 10 to 3600."""
        answer = api.call("POST", RUNS, by=ada, document={"heartbeat_seconds": seconds})
        assert (answer.status, answer.reason) == (400, "invalid_body")

    @pytest.mark.parametrize("end", ENDS)
    def test_heartbeat_of_a_run_that_is_over_changes_nothing(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, end: str
    ) -> None:
        """A program that goes on after its run was ended learns the state, and the run stays."""
        run = running(api, ada)
        post(api, ada, run, end)
        before = dynamodb.rows()
        assert indexed(dynamodb) == set()
        answer = post(api, ada, run, "heartbeat")
        assert (answer.status, answer.reason) == (409, "wrong_state")
        assert answer.json["current_status"] == ENDS[end]
        assert dynamodb.rows() == before

    def test_heartbeat_of_a_pending_run_is_refused(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A run is not watched before it is started."""
        run = api.create(ada, heartbeat_seconds=10.0)
        answer = post(api, ada, run, "heartbeat")
        assert (answer.status, answer.json["current_status"]) == (409, "pending")
        assert indexed(dynamodb) == set()

    def test_run_without_heartbeats_is_never_lost(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A run that was created without them is in no index, and its heartbeat is refused."""
        run = running(api, ada, None)
        answer = post(api, ada, run, "heartbeat")
        assert (answer.status, answer.reason) == (409, "wrong_state")
        assert "heartbeat_seconds" in answer.json["detail"]
        assert indexed(dynamodb) == set()
        assert mark(dynamodb, time.time() + 86_400) == 0

    def test_heartbeat_of_a_missing_run_creates_no_row(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A deleted run stays deleted, and is answered 404."""
        run = running(api, ada)
        assert api.call("DELETE", f"{RUNS}/{run['id']}", by=ada).status == 204
        before = dynamodb.rows()
        assert post(api, ada, run, "heartbeat").status == 404
        assert dynamodb.rows() == before
        assert indexed(dynamodb) == set()

    def test_caller_who_may_not_change_runs_sends_none(
        self, start_api: Callable[..., RunsApi], ada: Credential, dynamodb: DynamoDb, web: Web
    ) -> None:
        """A stranger gets the same answer as for a missing run, and nothing is written."""
        run = running(start_api(), ada)
        before = row(dynamodb, run)
        answer = post(start_api(PROJECT_ADMINS=""), web.browser("mallory"), run, "heartbeat")
        assert (answer.status, answer.reason) == (404, "not_found")
        assert row(dynamodb, run) == before

    def test_throttled_heartbeat_is_no_success(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A heartbeat that was not written is answered 503, so the program sends it again."""
        run = running(api, ada)
        before = row(dynamodb, run)
        dynamodb.faults.extend([Refusal("UpdateItem", "ThrottlingException")] * 10)
        answer = post(api, ada, run, "heartbeat")
        dynamodb.faults.clear()
        assert (answer.status, answer.reason) == (503, "store_unavailable")
        assert row(dynamodb, run) == before

    def test_heartbeats_do_not_disturb_a_change_of_state(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A run can be finished while heartbeats arrive between its read and its write."""
        run = running(api, ada)
        beat = partial(post, api, ada, run, "heartbeat")
        dynamodb.faults.append(Meanwhile("TransactWriteItems", beat))
        assert post(api, ada, run, "finish").json["status"] == "succeeded"
        assert indexed(dynamodb) == set()
        assert "heartbeat_due" not in row(dynamodb, run)


class TestMark:
    """The mark of a silent run, by PlanRefreshFunction."""

    def test_run_is_lost_at_its_time_and_not_a_second_before(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """The last second is still the run's own."""
        run = running(api, ada)
        at = due(dynamodb, run)
        assert mark(dynamodb, at - 1) == 0
        assert mark(dynamodb, at - 0.001) == 0
        assert row(dynamodb, run)["status"] == {"S": "running"}
        assert mark(dynamodb, at) == 1
        assert mark(dynamodb, at + 1) == 0

    def test_lost_run_says_so_and_the_record_names_the_service(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """The run, its lists and its audit trail show the loss. Nobody is named for it."""
        run = running(api, ada)
        mark(dynamodb, due(dynamodb, run))
        lost = api.call("GET", f"{RUNS}/{run['id']}", by=ada).json
        changed = ("status", "lost_at", "updated_at")
        assert lost == run | {name: lost[name] for name in changed}
        assert (lost["status"], lost["lost_at"]) == ("lost", lost["updated_at"])
        assert ids(pages_of(api, ada, RUNS, {"status": "lost"})) == [run["id"]]
        assert ids(pages_of(api, ada, RUNS, {"status": "running"})) == []
        assert row(dynamodb, run)["live"] == {"S": live_partition("apollo", "lost")}
        record = records(api, ada, run)[-1]
        assert (record["action"], record["principal"]) == ("lose_run", "service")
        assert (record["actor"], record["on_behalf_of"], record["source"]) == (None, None, None)
        assert record["who"] == {"actor": None, "on_behalf_of": None}

    @pytest.mark.parametrize("end", ENDS)
    def test_lost_run_may_end(
        self, api: RunsApi, ada: Credential, grace: Credential, dynamodb: DynamoDb, end: str
    ) -> None:
        """A program that was out of reach still reports how its run ended; others may cancel it."""
        run = running(api, ada)
        mark(dynamodb, due(dynamodb, run))
        ended = post(api, grace, run, end)
        assert (ended.status, ended.json["status"]) == (200, ENDS[end])
        assert {"live", "live_for", "heartbeat_due"}.isdisjoint(row(dynamodb, run))
        assert mark(dynamodb, time.time() + 86_400) == 0

    def test_lost_run_is_not_started_again(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """Only its own heartbeat takes it back."""
        run = running(api, ada)
        mark(dynamodb, due(dynamodb, run))
        answer = post(api, ada, run, "start")
        assert (answer.status, answer.json["current_status"]) == (409, "lost")

    def test_heartbeat_after_the_mark_takes_the_run_back(
        self, api: RunsApi, ada: Credential, grace: Credential, dynamodb: DynamoDb
    ) -> None:
        """A run that was only out of reach runs again, is watched again, and can be lost again."""
        run = running(api, ada)
        mark(dynamodb, due(dynamodb, run), "first")
        back = post(api, grace, run, "heartbeat").json
        assert (back["status"], back["started_by"]) == ("running", run["started_by"])
        assert back["lost_at"] is not None
        assert indexed(dynamodb) == {run["id"]}
        assert ids(pages_of(api, ada, RUNS, {"status": "running"})) == [run["id"]]
        assert mark(dynamodb, due(dynamodb, run), "second") == 1
        actions = [record["action"] for record in records(api, ada, run)]
        assert sorted(actions[2:]) == ["lose_run", "lose_run", "resume_run"]
        [resumed] = [each for each in records(api, ada, run) if each["action"] == "resume_run"]
        assert resumed["who"]["actor"]["subject"] == "grace"

    def test_heartbeat_just_before_the_mark_wins(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A run that a tick has read as silent, and that then sends a heartbeat, stays running."""
        run = running(api, ada)
        dynamodb.client.update_item(
            TableName=TABLE,
            Key=run_key("apollo", run["id"]),
            UpdateExpression="SET heartbeat_due = :past",
            ExpressionAttributeValues={":past": {"N": "1000"}},
        )
        beat = partial(post, api, ada, run, "heartbeat")
        dynamodb.faults.append(Meanwhile("TransactWriteItems", beat))
        assert mark(dynamodb, time.time()) == 0
        assert row(dynamodb, run)["status"] == {"S": "running"}
        assert "lose_run" not in [record["action"] for record in records(api, ada, run)]

    @pytest.mark.parametrize("end", ENDS)
    def test_end_just_before_the_mark_wins(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, end: str
    ) -> None:
        """A run that a tick has read as silent, and that then ends, stays over."""
        run = running(api, ada)
        at = due(dynamodb, run)
        dynamodb.faults.append(Meanwhile("TransactWriteItems", partial(post, api, ada, run, end)))
        assert mark(dynamodb, at) == 0
        assert row(dynamodb, run)["status"] == {"S": ENDS[end]}
        assert "live" not in row(dynamodb, run)

    @pytest.mark.parametrize("end", ENDS)
    def test_end_that_meets_the_mark_is_made(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, end: str
    ) -> None:
        """A mark between the read and the write of an end does not refuse the end."""
        run = running(api, ada)
        lose = partial(mark, dynamodb, due(dynamodb, run))
        dynamodb.faults.append(Meanwhile("TransactWriteItems", lose))
        assert post(api, ada, run, end).json["status"] == ENDS[end]
        assert "live" not in row(dynamodb, run)

    def test_two_ticks_at_once_make_one_mark_and_one_record(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """A tick that runs twice finds the mark of the other one."""
        run = running(api, ada)
        at = due(dynamodb, run)
        other = partial(mark, dynamodb, at, "other")
        dynamodb.faults.append(Meanwhile("TransactWriteItems", other))
        assert mark(dynamodb, at, "this") == 1
        actions = [record["action"] for record in records(api, ada, run)]
        assert actions.count("lose_run") == 1

    @pytest.mark.parametrize(
        "fault", [LostAnswer("TransactWriteItems"), conflict()], ids=["answer lost", "conflict"]
    )
    def test_interrupted_write_marks_once(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb, fault: Any
    ) -> None:
        """A repeated transaction has one record."""
        run = running(api, ada)
        dynamodb.faults.append(fault)
        assert mark(dynamodb, due(dynamodb, run)) == 1
        actions = [record["action"] for record in records(api, ada, run)]
        assert actions.count("lose_run") == 1

    def test_tick_that_stops_half_way_leaves_the_rest(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """Each run is marked by itself, and the next tick goes on."""
        runs = [running(api, ada) for _ in range(4)]
        at = max(due(dynamodb, run) for run in runs)
        failures = marker(dynamodb).mark(
            now=at, request_id="tick", may_go_on=lambda: len(records_of_losses(dynamodb)) < 2
        )
        assert failures == []
        assert len(records_of_losses(dynamodb)) == 2
        assert mark(dynamodb, at, "next") == 2
        assert {row(dynamodb, run)["status"]["S"] for run in runs} == {"lost"}

    def test_shard_that_fails_does_not_stop_the_others(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """The runs of the other shards are marked, and the failure is reported."""
        runs = [running(api, ada) for _ in range(12)]
        first = [run for run in runs if shard_of(run["id"]) == SHARDS[0]]
        at = max(due(dynamodb, run) for run in runs)
        dynamodb.faults.append(Refusal("Query", "AccessDeniedException"))
        failures = marker(dynamodb).mark(now=at, request_id="tick", may_go_on=lambda: True)
        assert len(records_of_losses(dynamodb)) == len(runs) - len(first)
        assert len(failures) == 1

    def test_mark_that_fails_stops_no_other_run(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """More runs than shards, so some share one: all but the contended run are marked."""
        runs = [running(api, ada) for _ in range(len(SHARDS) + 1)]
        at = max(due(dynamodb, run) for run in runs)
        dynamodb.faults.extend([conflict()] * WRITE_ATTEMPTS)
        failures = marker(dynamodb).mark(now=at, request_id="tick", may_go_on=lambda: True)
        assert [type(failure) for failure in failures] == [Contended]
        assert len(records_of_losses(dynamodb)) == len(runs) - 1
        assert mark(dynamodb, at, "next") == 1

    def test_index_that_is_not_there_yet_is_no_failure(
        self, dynamodb: DynamoDb, caplog: pytest.LogCaptureFixture
    ) -> None:
        """During an upgrade the tick does its other work, and says so."""
        message = "The table does not have the specified index: by-heartbeat"
        dynamodb.faults.append(
            Refusal("Query", "ValidationException", members={"Message": message})
        )
        with caplog.at_level(logging.WARNING):
            assert mark(dynamodb, time.time()) == 0
        assert "index of heartbeats is not there yet" in caplog.text

    def test_record_of_a_loss_expires_as_others_do(
        self, api: RunsApi, ada: Credential, dynamodb: DynamoDb
    ) -> None:
        """`AuditRetentionDays` applies to it."""
        run = running(api, ada)
        at = due(dynamodb, run)
        marker(dynamodb, retention_days=7).mark(now=at, request_id="tick", may_go_on=lambda: True)
        [record] = records_of_losses(dynamodb)
        assert record["expires_at"] == {"N": str(at + 7 * 86_400)}

    def test_idle_table_is_read_by_one_query_a_shard(self, dynamodb: DynamoDb) -> None:
        """Nothing is scanned, however many runs the table has."""
        dynamodb.calls.clear()
        assert mark(dynamodb, time.time()) == 0
        queries = [call for call in dynamodb.calls if call.operation != "Scan"]  # the test's own
        assert [call.operation for call in queries] == ["Query"] * len(SHARDS)
        assert {call.document["IndexName"] for call in queries} == {HEARTBEAT_INDEX}


def test_runs_are_spread_over_all_shards(api: RunsApi, ada: Credential) -> None:
    """A shard takes 500 heartbeats a second, and ids fall into all of them."""
    characters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    shards = [shard_of(f"01JD9XK3T5ZQ8W7V6R5N00000{last}") for last in characters]
    assert {shard: shards.count(shard) for shard in SHARDS} == dict.fromkeys(SHARDS, 8)
    assert shard_of(api.create(ada)["id"]) in SHARDS


def test_idempotency_key_of_a_body_without_heartbeats_is_as_before(
    api: RunsApi, ada: Credential
) -> None:
    """A key finds its run with the same silence only."""
    key = (("idempotency-key", "with-heartbeats"),)
    ask = partial(api.call, "POST", RUNS, by=ada, headers=key)
    assert ask(document={"heartbeat_seconds": 60}).status == 201
    assert ask(document={"heartbeat_seconds": 60}).status == 200
    assert ask(document={"heartbeat_seconds": 61}).status == 422
    assert ask(document={}).status == 422


def test_error_of_the_engine_is_not_taken_for_a_missing_index(dynamodb: DynamoDb) -> None:
    """A wrong request is a failure, not an upgrade."""
    dynamodb.faults.append(
        Refusal("Query", "ValidationException", members={"Message": "one or more parameters"})
    )
    failures = marker(dynamodb).mark(now=time.time(), request_id="tick", may_go_on=lambda: True)
    assert [type(failure) for failure in failures] == [dynamodb.client.exceptions.ClientError]
    assert isinstance(failures[0], ClientError)
