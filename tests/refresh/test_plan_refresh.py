"""PlanRefreshFunction: one message for each unit that is due, and how all tokens are doing."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import batched
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import sqs
from byline.errors import Misconfigured
from byline.refresh.runner_rows import RunnerRow, runner_item
from byline.refresh.timing import LEASE_SECONDS, TICK_SECONDS
from byline.refresh.work_units import shards
from plan_refresh.planning import REPEAT_SECONDS
from stand_ins.faults import LoseAnswer
from stand_ins.refusal import ACCESS_DENIED, INTERNAL_ERROR
from tests.refresh.conftest import Said
from tests.refresh.deployment import Deployment, deployed, sqs_record
from tests.refresh.world import TABLE, World
from tests.runs.runs_api import metrics


def planned(deployment: Deployment) -> list[dict[str, str]]:
    """The units that were sent, in order, without their second messages."""
    return [
        json.loads(message["MessageBody"])
        for message in deployment.sent()
        if message["DelaySeconds"] < REPEAT_SECONDS
    ]


def unit(row: RunnerRow) -> dict[str, str]:
    assert row.shard is not None
    return {"shard": row.shard, "project": row.project}


def rows_of(world: World, projects: int) -> list[RunnerRow]:
    """A runner in each of so many projects, which are in all shards where there are enough."""
    for number in range(projects):
        world.give_client(project=f"project-{number}")
    return [world.register("nightly", project=f"project-{number}") for number in range(projects)]


def test_each_unit_gets_one_message_with_keys_only(deployment: Deployment) -> None:
    """However many runners it has; the message's group is its project."""
    rows = [deployment.world.register(f"runner-{number}") for number in range(5)]
    assert deployment.tick() == {"units": 1}
    (message,) = deployment.sent()
    assert message.keys() == {"Id", "MessageBody", "MessageGroupId", "DelaySeconds"}
    assert json.loads(message["MessageBody"]) == unit(rows[0])
    assert message["MessageGroupId"] == "payments"


def test_units_of_every_shard_are_found(deployment: Deployment) -> None:
    """Ten to a call, which is the most that SQS takes."""
    rows = rows_of(deployment.world, 60)
    assert {row.shard for row in rows} == set(shards())
    assert deployment.tick() == {"units": 60}
    assert sorted(map(str, planned(deployment))) == sorted(str(unit(row)) for row in rows)
    assert deployment.world.aws.count("SendMessageBatch") == 6


def test_most_urgent_unit_comes_first(deployment: Deployment) -> None:
    """By the earliest deadline of its runners, whatever its shard."""
    rows = rows_of(deployment.world, 20)
    now = int(time.time())
    for number, row in enumerate(rows):
        deployment.world.put(replace(row, deadline=now + 7 * number % 20))
    deployment.tick()
    order = [int(sent["project"].removeprefix("project-")) for sent in planned(deployment)]
    assert order == sorted(range(20), key=lambda number: 7 * number % 20)


def test_runner_that_is_not_due_is_not_planned(deployment: Deployment) -> None:
    """In this second, and in a while."""
    world, now = deployment.world, int(time.time())
    due, later = world.register("due"), world.register("later", project="others")
    world.put(replace(due, due_at=now))
    world.put(replace(later, due_at=now + 30))
    deployment.tick()
    assert planned(deployment) == [unit(due)]


def test_deleted_runner_is_planned_for_its_sweep(deployment: Deployment) -> None:
    """It has no token to keep, and secrets to delete."""
    row = deployment.world.delete(deployment.world.register("gone"))
    deployment.tick()
    assert planned(deployment) == [unit(row)]


def test_runner_is_planned_where_it_is_found(deployment: Deployment) -> None:
    """A row that says another shard than its names come to today is neither lost nor stuck."""
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


def test_pages_are_read_to_the_end(deployment: Deployment) -> None:
    """DynamoDB answers a megabyte at a time; whoever stops there forgets the rest for ever."""
    world = deployment.world
    long = "x" * 100_000
    rows = [
        world.register(f"runner-{number}", project=f"project-{number}", registered_by=long)
        for number in range(300)
    ]
    shard = rows[0].shard
    assert sum(row.shard == shard for row in rows) > 11
    assert deployment.tick() == {"units": 300}
    assert world.aws.count("Query") > 2 * len(shards())


def test_tick_is_for_the_earliest_deadlines_where_there_is_no_time_for_all(
    present: World, said: Said
) -> None:
    """A unit of which only some have their turn is sent up to the last of them, a later one not."""
    del said
    now, writes = int(time.time()), 240
    early, middle, late = (
        with_token(present.register("first", project=project), life, now=now)
        for project, life in (("early", 300), ("middle", 301), ("late", 302))
    )
    later = replace(middle, runner="second", deadline=now + 303)
    put_all(present, [early, middle, late, later])
    put_all(present, [replace(early, runner=f"runner-{n}") for n in range(writes - 2)])
    with deployed(present, WRITES_PER_SECOND="1") as deployment:
        assert deployment.tick() == {"units": 2}
        assert planned(deployment) == [unit(early), unit(middle) | {"deadline": now + 301}]


def with_token(row: RunnerRow, life: int, *, now: int) -> RunnerRow:
    """The runner with a token of 900 seconds that has so much life left."""
    expires_at = now + life
    return replace(row, expires_at=expires_at, deadline=expires_at, lifetime=900, slots=2, slot=0)


def put_all(world: World, rows: list[RunnerRow]) -> None:
    for some in batched(rows, 25, strict=False):
        puts = [{"PutRequest": {"Item": runner_item(row)}} for row in some]
        world.dynamodb.batch_write_item(RequestItems={TABLE: puts})


def test_unit_is_sent_again_half_a_minute_later(deployment: Deployment) -> None:
    """For the same runners, once the lease of a worker that died over them is over."""
    world, now = deployment.world, int(time.time())
    last = with_token(world.register("last"), 350, now=now)
    put_all(world, [last, with_token(world.register("first"), 300, now=now)])
    assert deployment.tick() == {"units": 1}
    at_once, again = deployment.sent()
    assert json.loads(at_once["MessageBody"]) == unit(last)
    assert at_once["DelaySeconds"] == 0
    meant = json.loads(again["MessageBody"])
    assert meant == unit(last) | {"deadline": last.deadline, "due_by": meant["due_by"]}
    assert now <= meant["due_by"] <= time.time()
    assert LEASE_SECONDS < again["DelaySeconds"] < TICK_SECONDS - LEASE_SECONDS / 2
    assert again["MessageGroupId"] == "payments"


def test_second_message_does_what_the_worker_of_the_first_one_died_over(
    deployment: Deployment,
) -> None:
    """And whichever of the two comes after the other finds nothing to do: no mint, no write."""
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


def test_work_of_a_tick_begins_on_the_minute(deployment: Deployment) -> None:
    """Wherever in its minute the tick came, with whatever is due by then."""
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


# Trouble


def test_shard_that_cannot_be_read_stops_no_other(deployment: Deployment, said: Said) -> None:
    """The others' units are sent, then the tick fails, and nobody is told that all is well."""
    rows = rows_of(deployment.world, 40)
    deployment.world.aws.faults.follow(
        "Query",
        afterwards=ACCESS_DENIED,
        concerns=lambda call: "'07'" in str(call.document["ExpressionAttributeValues"]),
    )
    with pytest.raises(ClientError):
        deployment.tick()
    expected = [unit(row) for row in rows if row.shard != "07"]
    assert len(expected) < len(rows)
    assert sorted(map(str, planned(deployment))) == sorted(map(str, expected))
    assert metrics(said(), "Ticks")
    assert not metrics(said(), "TokensExpired")
    (line,) = [json.loads(line) for line in said() if "shard not read" in line]
    assert (line["shard"], line["error"]) == ("07", "AccessDeniedException")


@pytest.mark.parametrize("fault", [INTERNAL_ERROR, LoseAnswer()])
def test_table_that_fails_once_is_asked_again(deployment: Deployment, fault: Any) -> None:
    """A tick has time for a second try."""
    rows_of(deployment.world, 3)
    deployment.world.aws.faults.follow("Query", fault)
    assert deployment.tick() == {"units": 3}


def test_messages_that_are_not_sent_fail_the_tick_after_the_others(
    deployment: Deployment, said: Said
) -> None:
    """What was read is told all the same: the tokens are as they are."""
    rows_of(deployment.world, 25)
    deployment.world.aws.faults.follow("SendMessageBatch", ACCESS_DENIED)
    with pytest.raises((ClientError, BotoCoreError)):
        deployment.tick()
    assert len(deployment.receive()) > 0
    assert deployment.world.aws.count("SendMessageBatch", "done") == 2
    assert metrics(said(), "RunnersWithoutToken")


def test_message_that_the_queue_leaves_out_fails_the_tick(deployment: Deployment) -> None:
    """A batch is answered with success although some of it failed."""
    rows_of(deployment.world, 3)

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        parsed["Failed"] = [{"Id": "1", "Code": "InternalError", "SenderFault": False}]

    sqs().meta.events.register("after-call.sqs.SendMessageBatch", leave_out)
    with pytest.raises(RuntimeError, match="InternalError"):
        deployment.tick()


@pytest.mark.parametrize(
    "spoiled",
    [
        {"generation": {"N": "1.5"}},
        {"revision": {"NULL": True}},
        {"deadline": {"S": "soon"}},
        {"last_error": {"M": {}}},
    ],
)
def test_row_that_nobody_can_read_is_counted_and_stops_no_other(
    deployment: Deployment, said: Said, spoiled: Any
) -> None:
    """Neither for the planner nor for the worker that meets it in a unit."""
    world = deployment.world
    rows = [world.register(f"runner-{number}") for number in range(3)]
    world.dynamodb.put_item(TableName=TABLE, Item=runner_item(rows[1]) | spoiled)
    assert deployment.tick() == {"units": 1}
    (counted,) = metrics(said(), "UnreadableRunner")
    assert counted["UnreadableRunner"] == [1.0]
    assert deployment.work_off() == []
    for row in (rows[0], rows[2]):
        after = world.row(row.runner)
        assert after is not None
        assert world.token(after)["token"]


def test_ticks_that_overlap_send_what_does_no_harm(deployment: Deployment) -> None:
    """Three at once, and one that comes late: every runner is written once."""
    rows = rows_of(deployment.world, 6)
    with ThreadPoolExecutor(3) as ticks:
        answers = list(ticks.map(lambda _: deployment.tick(), range(3)))
    assert answers == [{"units": 6}] * 3
    assert deployment.work_off() == []
    assert deployment.tick() == {"units": 0}
    assert deployment.world.aws.count("CreateSecret", "done") == len(rows)
    assert deployment.world.mints() == len(rows)


# What is told


@pytest.fixture
def told(deployment: Deployment, said: Said) -> dict[str, float]:
    """What a tick tells of three runners: dying, expired and new, and one that is well."""
    world, now = deployment.world, int(time.time())
    for name, expires_in, due_in in (
        ("dying", 80, -250),
        ("expired", -5, -400),
        ("well", 700, 200),
    ):
        row = world.register(name, project=name, slots=1, slot=0, lifetime=900, window_writes=40)
        expires_at = now + expires_in
        world.put(replace(row, expires_at=expires_at, deadline=expires_at, due_at=now + due_in))
    world.register("new", project="new")
    deployment.tick()
    (document,) = metrics(said(), "Ticks")
    return {
        metric["Name"]: document[metric["Name"]][0]
        for metric in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }


def test_health_is_told_by_the_rows_alone(told: dict[str, float]) -> None:
    """Whatever the worker does or does not."""
    assert told.pop("OldestDueAge") == pytest.approx(400, abs=3)
    assert told.pop("LeastRemainingLife") == pytest.approx(-5, abs=3)
    assert told == {
        "Ticks": 1,
        "TokensWithinMargin": 1,
        "TokensExpired": 1,
        "RunnersWithoutToken": 1,
        "MostWritesPerSecret": 40,
        "DueUnits": 3,
    }


def test_tick_without_runners_is_a_tick(deployment: Deployment, said: Said) -> None:
    """Its absence is an alarm, so it is counted where there is nothing to do."""
    assert deployment.tick() == {"units": 0}
    assert deployment.sent() == []
    (document,) = metrics(said(), "Ticks")
    assert document["TokensExpired"] == [0.0]
    assert "LeastRemainingLife" not in document


@pytest.mark.parametrize("name", ["RUNNERS_TABLE", "REFRESH_QUEUE_URL"])
def test_missing_settings_fail_the_cold_start(present: World, name: str) -> None:
    """With a message that names the variable."""
    with pytest.raises(Misconfigured, match=name), deployed(present, **{name: ""}):
        pass


def test_runner_that_is_due_next_is_told_of(deployment: Deployment, said: Said) -> None:
    """Where none is due the least life is known all the same, and no message is sent."""
    world, now = deployment.world, int(time.time())
    row = world.register("well", slots=1, slot=0, lifetime=900)
    world.put(replace(row, expires_at=now + 700, deadline=now + 700, due_at=now + 200))
    assert deployment.tick() == {"units": 0}
    assert deployment.sent() == []
    (document,) = metrics(said(), "Ticks")
    assert document["LeastRemainingLife"] == [pytest.approx(700, abs=3)]
