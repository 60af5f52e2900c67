"""PlanRefreshFunction: a message for each work unit that is due, and the metrics of all tokens."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from copy import replace
from datetime import UTC, datetime
from itertools import batched
from traceback import format_exception
from typing import Any

import pytest

from byline.aws import sqs
from byline.errors import Misconfigured
from byline.metrics import InvocationFailed
from byline.refresh.timing import LEASE_SECONDS, TICK_SECONDS
from byline.refresh.token_rows import TokenRow, token_item
from byline.refresh.work_units import MintKey, shards
from plan_refresh.planning import REPEAT_SECONDS
from stand_ins.faults import LoseAnswer, Meanwhile
from stand_ins.refusal import ACCESS_DENIED, INTERNAL_ERROR
from tests.refresh.conftest import Said
from tests.refresh.deployment import Deployment, deployed, message_of, sqs_record
from tests.refresh.issuer_troubles import error
from tests.refresh.world import TABLE, World
from tests.runs.runs_api import metrics
from tests.runs.table_server import TABLE as RUNS_TABLE

VARIABLES = (
    *("RUNNERS_TABLE", "RUNS_TABLE", "ACCESS_TABLE"),
    *("REFRESH_QUEUE_URL", "POWERTOOLS_SERVICE_NAME"),
)


def planned(deployment: Deployment) -> list[dict[str, str]]:
    """The work units of all first messages, in order."""
    return [
        json.loads(message["MessageBody"])
        for message in deployment.sent()
        if message["DelaySeconds"] < REPEAT_SECONDS
    ]


def unit(row: TokenRow) -> dict[str, str]:
    assert row.shard is not None
    return {"shard": row.shard, "project": row.project}


def rows_of(world: World, projects: int) -> list[TokenRow]:
    """A token in each of `projects` projects."""
    for number in range(projects):
        world.give_client(project=f"project-{number}")
    return [world.register("nightly", project=f"project-{number}") for number in range(projects)]


def test_each_work_unit_gets_one_message_with_keys_only(deployment: Deployment) -> None:
    """However many tokens it has; the message group is the project."""
    rows = deployment.world.register_all(f"runner-{number}" for number in range(5))
    assert deployment.tick() == {"units": 1}
    (message,) = deployment.sent()
    assert message.keys() == {"Id", "MessageBody", "MessageGroupId", "DelaySeconds"}
    assert json.loads(message["MessageBody"]) == unit(rows[0])
    assert message["MessageGroupId"] == "payments"


def test_work_units_of_every_shard_are_planned(deployment: Deployment) -> None:
    """Messages are sent ten to a call, the most that SQS takes."""
    rows = rows_of(deployment.world, 60)
    assert {row.shard for row in rows} == set(shards())
    assert deployment.tick() == {"units": 60}
    assert sorted(map(str, planned(deployment))) == sorted(str(unit(row)) for row in rows)
    assert deployment.world.aws.count("SendMessageBatch") == 6


def test_most_urgent_work_unit_comes_first(deployment: Deployment) -> None:
    """By the earliest deadline of its tokens, whatever its shard."""
    rows = rows_of(deployment.world, 20)
    now = int(time.time())
    for number, row in enumerate(rows):
        deployment.world.put(replace(row, deadline=now + 7 * number % 20))
    deployment.tick()
    order = [int(sent["project"].removeprefix("project-")) for sent in planned(deployment)]
    assert order == sorted(range(20), key=lambda number: 7 * number % 20)


def test_token_that_is_not_due_is_not_planned(deployment: Deployment) -> None:
    """A token that is due now is planned, one that is due in 30 seconds is not."""
    world, now = deployment.world, int(time.time())
    due, later = world.register("due"), world.register("later", project="others")
    world.put(replace(due, due_at=now))
    world.put(replace(later, due_at=now + 30))
    deployment.tick()
    assert planned(deployment) == [unit(due)]


def test_retired_token_is_planned_for_its_sweep(deployment: Deployment) -> None:
    """It is not kept fresh, but has secrets to delete."""
    row = deployment.world.register("gone")
    deployment.world.delete("gone")
    deployment.tick()
    assert planned(deployment) == [unit(row)]


def test_token_is_planned_in_the_shard_of_its_row(deployment: Deployment) -> None:
    """A row in another shard than its names give today is refreshed all the same."""
    world = deployment.world
    row = world.register("nightly")
    other = next(shard for shard in shards() if shard != row.shard)
    world.put(replace(row, shard=other))
    deployment.tick()
    assert planned(deployment) == [{"shard": other, "project": "payments"}]
    deployment.work_off()
    after = world.row("nightly")
    assert after is not None
    assert world.token(after)["token"]


def test_all_pages_of_due_rows_are_read(deployment: Deployment) -> None:
    """DynamoDB answers a megabyte at a time."""
    world = deployment.world
    long = "x" * 100_000
    first = world.register("nightly", project="project-0")
    rows = [in_project(first, f"project-{number}", created_at=long) for number in range(300)]
    put_all(world, rows)
    shard = rows[0].shard
    assert sum(row.shard == shard for row in rows) > 11
    assert deployment.tick() == {"units": 300}
    assert world.aws.count("Query") > 2 * len(shards())


def in_project(row: TokenRow, project: str, **changes: Any) -> TokenRow:
    """The row of a token of another project, in its shard."""
    unit = MintKey.of(project=project, client="").work_unit
    return replace(row, project=project, shard=unit.shard, **changes)


def test_overloaded_tick_plans_the_earliest_deadlines(present: World, said: Said) -> None:
    """A work unit of which some tokens are chosen is sent with the last of their deadlines."""
    del said
    now, writes = int(time.time()), 240
    early, middle, late = (
        with_token(present.register("first", project=project), life, now=now)
        for project, life in (("early", 300), ("middle", 301), ("late", 302))
    )
    later = replace(middle, isolated_for="second", deadline=now + 303)
    put_all(present, [early, middle, late, later])
    put_all(present, [replace(early, isolated_for=f"runner-{n}") for n in range(writes - 2)])
    with deployed(present, WRITES_PER_SECOND="1") as deployment:
        assert deployment.tick() == {"units": 2}
        assert planned(deployment) == [unit(early), unit(middle) | {"deadline": now + 301}]


def with_token(row: TokenRow, life: int, *, now: int) -> TokenRow:
    """The row with a generation of 900 seconds that has `life` seconds left."""
    expires_at = now + life
    return replace(row, expires_at=expires_at, deadline=expires_at, lifetime=900, slots=2, slot=0)


def put_all(world: World, rows: list[TokenRow]) -> None:
    for some in batched(rows, 25, strict=False):
        puts = [{"PutRequest": {"Item": token_item(row)}} for row in some]
        world.dynamodb.batch_write_item(RequestItems={TABLE: puts})


def test_work_unit_is_sent_a_second_time_after_half_a_minute(deployment: Deployment) -> None:
    """For the same tokens, once the lease of a worker that died has expired."""
    world, now = deployment.world, int(time.time())
    last = with_token(world.register("last"), 350, now=now)
    first = world.register("first", isolated=True)
    put_all(world, [last, with_token(first, 300, now=now)])
    assert deployment.tick() == {"units": 1}
    at_once, again = deployment.sent()
    assert json.loads(at_once["MessageBody"]) == unit(last)
    assert at_once["DelaySeconds"] == 0
    meant = json.loads(again["MessageBody"])
    assert meant == unit(last) | {"deadline": last.deadline, "due_by": meant["due_by"]}
    assert now <= meant["due_by"] <= time.time()
    assert LEASE_SECONDS < again["DelaySeconds"] < TICK_SECONDS - LEASE_SECONDS / 2
    assert again["MessageGroupId"] == "payments"


def test_second_message_does_the_work_of_a_first_one_that_was_lost(
    deployment: Deployment,
) -> None:
    """The message that arrives last finds nothing to do: no mint, no write."""
    world, now = deployment.world, int(time.time())
    row = with_token(world.register("nightly"), 300, now=now)
    put_all(world, [row])
    deployment.tick()
    first, second = (sqs_record(message["MessageBody"]) for message in deployment.sent())
    assert deployment.invoke([second]) == []
    after = world.row("nightly")
    assert after is not None
    assert (after.generation, world.mints()) == (row.generation + 1, 1)
    assert deployment.invoke([first]) == []
    assert (world.row("nightly"), world.mints()) == (after, 1)


def test_messages_are_delivered_on_the_minute(deployment: Deployment) -> None:
    """The tick includes all tokens that are due by then."""
    world, now = deployment.world, int(time.time())
    put_all(
        world,
        [
            replace(world.register("by then", project="a"), due_at=now + 25),
            replace(world.register("later", project="b"), due_at=now + 45),
        ],
    )
    scheduled = datetime.fromtimestamp(now - 30, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert deployment.tick(scheduled_at=scheduled) == {"units": 1}
    (message,) = deployment.sent()
    assert json.loads(message["MessageBody"])["project"] == "a"
    assert 25 <= message["DelaySeconds"] <= 30
    assert deployment.receive() == []


# Failures


def test_unread_shard_fails_the_tick_after_the_other_shards(
    deployment: Deployment, said: Said
) -> None:
    """The others' work units are sent, and the health metrics are left out."""
    rows = rows_of(deployment.world, 40)
    deployment.world.aws.faults.follow(
        "Query",
        afterwards=ACCESS_DENIED,
        concerns=lambda call: "'07'" in str(call.document["ExpressionAttributeValues"]),
    )
    with pytest.raises(InvocationFailed, match="AccessDeniedException"):
        deployment.tick()
    expected = [unit(row) for row in rows if row.shard != "07"]
    assert len(expected) < len(rows)
    assert sorted(map(str, planned(deployment))) == sorted(map(str, expected))
    assert metrics(said(), "Ticks")
    assert not metrics(said(), "TokensExpired")
    (line,) = [json.loads(line) for line in said() if "shard not read" in line]
    assert (line["shard"], line["error"]) == ("07", "AccessDeniedException")


@pytest.mark.parametrize("fault", [INTERNAL_ERROR, LoseAnswer()])
def test_query_that_fails_once_is_repeated(deployment: Deployment, fault: Any) -> None:
    """A tick has time for a second attempt."""
    rows_of(deployment.world, 3)
    deployment.world.aws.faults.follow("Query", fault)
    assert deployment.tick() == {"units": 3}


def test_refused_messages_fail_the_tick_after_the_others(
    deployment: Deployment, said: Said
) -> None:
    """The health metrics are written all the same."""
    rows_of(deployment.world, 25)
    deployment.world.aws.faults.follow("SendMessageBatch", ACCESS_DENIED)
    with pytest.raises(InvocationFailed, match="AccessDeniedException"):
        deployment.tick()
    assert len(deployment.receive()) > 0
    assert deployment.world.aws.count("SendMessageBatch", "done") == 2
    assert metrics(said(), "TokensWaiting")


@pytest.mark.parametrize(
    ("code", "logged"),
    [("InternalError", "InternalError"), ("bad message: t0ken-that-was-sent", "ClientError")],
)
def test_message_that_the_queue_leaves_out_fails_the_tick(
    deployment: Deployment, said: Said, code: str, logged: str
) -> None:
    """SQS answers a batch with success although some of its messages failed.

    The code is logged only where it looks like one.
    """
    rows_of(deployment.world, 3)

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        parsed["Failed"] = [{"Id": "1", "Code": code, "SenderFault": False}]

    sqs().meta.events.register("after-call.sqs.SendMessageBatch", leave_out)
    with pytest.raises(InvocationFailed):
        deployment.tick()
    [line] = [json.loads(line) for line in said() if "message not sent" in line]
    assert line["error"] == logged
    assert "t0ken" not in "".join(said())


def test_error_that_fails_a_tick_has_no_text_of_aws(deployment: Deployment) -> None:
    """Lambda logs the message and the traceback of the error, so neither quotes the request."""
    rows_of(deployment.world, 3)
    quoting = replace(ACCESS_DENIED, message="denied: t0ken-that-was-sent")
    deployment.world.aws.faults.follow("SendMessageBatch", afterwards=quoting)
    with pytest.raises(InvocationFailed, match=r"^AccessDenied\w* at .*handler.py:\d+") as failed:
        deployment.tick()
    assert "t0ken" not in "".join(format_exception(failed.value))


@pytest.mark.parametrize(
    "spoiled",
    [
        {"generation": {"N": "1.5"}},
        {"id": {"NULL": True}},
        {"client": {"S": "another"}},
        {"deadline": {"S": "soon"}},
        {"last_error": {"M": {}}},
    ],
)
def test_unreadable_row_is_counted_and_stops_no_other(
    deployment: Deployment, said: Said, spoiled: Any
) -> None:
    """Neither the planner nor the worker fails because of it."""
    world = deployment.world
    rows = world.register_all(f"runner-{number}" for number in range(3))
    world.dynamodb.put_item(TableName=TABLE, Item=token_item(rows[1]) | spoiled)
    assert deployment.tick() == {"units": 1}
    (counted,) = metrics(said(), "UnreadableRow")
    assert counted["UnreadableRow"] == [1.0]
    assert deployment.work_off() == []
    for runner in ("runner-0", "runner-2"):
        after = world.row(runner)
        assert after is not None
        assert world.token(after)["token"]


def test_overlapping_ticks_write_each_token_once(deployment: Deployment) -> None:
    """Three ticks at once, and a late one."""
    rows = rows_of(deployment.world, 6)
    with ThreadPoolExecutor(3) as ticks:
        answers = list(ticks.map(lambda _: deployment.tick(), range(3)))
    assert answers == [{"units": 6}] * 3
    assert deployment.work_off() == []
    assert deployment.tick() == {"units": 0}
    assert deployment.world.aws.count("CreateSecret", "done") == len(rows)
    assert deployment.world.mints() == len(rows)


# Metrics


@pytest.fixture
def written(deployment: Deployment, said: Said) -> dict[str, float]:
    """The metrics of a tick with a dying, an expired, a new and a healthy token."""
    world, now = deployment.world, int(time.time())
    for name, expires_in, due_in in (
        ("dying", 80, -250),
        ("expired", -5, -400),
        ("well", 700, 200),
    ):
        row = with_token(world.register(name, project=name), expires_in, now=now)
        world.put(replace(row, slots=1, window_writes=40, due_at=now + due_in))
    world.register("new", project="new")
    deployment.tick()
    (document,) = metrics(said(), "Ticks")
    return {
        metric["Name"]: document[metric["Name"]][0]
        for metric in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }


def test_health_is_computed_from_the_rows_alone(written: dict[str, float]) -> None:
    """It does not depend on the worker, which may be what fails."""
    assert written.pop("OldestDueAge") == pytest.approx(400, abs=3)
    assert written.pop("LeastRemainingLife") == pytest.approx(-5, abs=3)
    assert written == {
        "Ticks": 1,
        "TokensWithinMargin": 1,
        "TokensExpired": 1,
        "TokensWaiting": 1,
        "MostWritesPerSecret": 40,
        "DueUnits": 3,
    }


def test_expired_and_missing_tokens_are_counted_while_their_refresh_waits(
    deployment: Deployment, said: Said
) -> None:
    """A refused request is tried once an hour. Every tick counts it, and none sends a message."""
    world = deployment.world
    world.issuer.respond["/token"] = error("400 No", "invalid_scope")
    now = int(time.time())
    rows = rows_of(world, 3)
    for row in rows[1:]:
        world.put(replace(row, expires_at=now - 5, deadline=now - 5, lifetime=900, slots=1, slot=0))
    assert deployment.tick() == {"units": 3}
    deployment.work_off()
    asked = world.mints()
    world.aws.calls.clear()
    time.sleep(2)  # the rows are due from the next second on
    assert deployment.tick() == {"units": 0}
    assert deployment.sent() == []
    document = metrics(said(), "Ticks")[-1]
    assert document["TokensExpired"] == [2.0]
    assert document["TokensWaiting"] == [1.0]
    assert document["OldestDueAge"] == [0.0]
    assert document["DueUnits"] == [0.0]
    deployment.invoke([message_of(row.work_unit) for row in rows])
    assert world.mints() == asked


def test_tick_without_tokens_is_counted(deployment: Deployment, said: Said) -> None:
    """A missing tick is an alarm, so each tick is counted."""
    assert deployment.tick() == {"units": 0}
    assert deployment.sent() == []
    (document,) = metrics(said(), "Ticks")
    assert document["TokensExpired"] == [0.0]
    assert "LeastRemainingLife" not in document


@pytest.mark.parametrize("name", VARIABLES)
def test_missing_variable_fails_the_cold_start(present: World, name: str) -> None:
    """The error names the variable."""
    with pytest.raises(Misconfigured, match=name), deployed(present, **{name: ""}):
        pass


def put_silent_run(world: World, run_id: str, *, due: int) -> None:
    """Write the row of a running run that is lost at `due`."""
    texts = {"project": "payments", "id": run_id, "status": "running", "heartbeat_shard": "1"}
    item = {name: {"S": text} for name, text in texts.items()}
    world.dynamodb.put_item(TableName=RUNS_TABLE, Item=item | {"heartbeat_due": {"N": str(due)}})


def states(world: World) -> dict[str, str]:
    """The state of each run."""
    rows = world.dynamodb.scan(TableName=RUNS_TABLE)["Items"]
    return {row["id"]["S"]: row["status"]["S"] for row in rows}


def test_tick_marks_silent_runs(deployment: Deployment) -> None:
    """Runs whose heartbeats have stopped are lost, whether tokens are due or not."""
    world, now = deployment.world, int(time.time())
    put_silent_run(world, "silent", due=now - 1)
    put_silent_run(world, "alive", due=now + 60)
    world.register("nightly")
    assert deployment.tick() == {"units": 1}
    assert states(world) == {"silent": "lost", "alive": "running"}


def test_run_that_cannot_be_marked_stops_neither_tokens_nor_other_runs(
    deployment: Deployment, said: Said
) -> None:
    """The messages are sent first, the next run of the shard is marked, and the tick fails."""
    world, now = deployment.world, int(time.time())
    put_silent_run(world, "first", due=now - 2)
    put_silent_run(world, "second", due=now - 1)
    world.register("nightly")
    world.aws.faults.follow("TransactWriteItems", ACCESS_DENIED)
    with pytest.raises(InvocationFailed, match="AccessDeniedException"):
        deployment.tick()
    assert len(planned(deployment)) == 1
    assert states(world) == {"first": "running", "second": "lost"}
    (line,) = [json.loads(line) for line in said() if "lost run not marked" in line]
    assert (line["run"], line["error"]) == ("payments/first", "AccessDeniedException")


def test_metrics_are_written_before_runs_are_marked(deployment: Deployment, said: Said) -> None:
    """A tick that Lambda ends during a mark is counted, because it has planned all tokens."""
    world = deployment.world
    told: list[Any] = []
    put_silent_run(world, "silent", due=int(time.time()) - 1)
    reading = Meanwhile(lambda: told.extend(metrics(said(), "Ticks")))
    world.aws.faults.follow("TransactWriteItems", reading)
    deployment.tick()
    assert [document["DueUnits"] for document in told] == [[0.0]]
    assert states(world) == {"silent": "lost"}


def test_tick_with_little_time_left_begins_no_mark(deployment: Deployment) -> None:
    """A call that is not answered would take longer than the tick has. The next tick marks it."""
    world = deployment.world
    put_silent_run(world, "silent", due=int(time.time()) - 1)
    deployment.tick(seconds=19)
    assert states(world) == {"silent": "running"}
    deployment.tick()
    assert states(world) == {"silent": "lost"}


def test_health_includes_the_token_that_is_due_next(deployment: Deployment, said: Said) -> None:
    """The least remaining life is known although no token is due."""
    world, now = deployment.world, int(time.time())
    world.put(replace(with_token(world.register("well"), 700, now=now), due_at=now + 200))
    assert deployment.tick() == {"units": 0}
    assert deployment.sent() == []
    (document,) = metrics(said(), "Ticks")
    assert document["LeastRemainingLife"] == [pytest.approx(700, abs=3)]
