"""RefreshTokensFunction: batches of messages in time slices, until all is done or time is over."""

import json
import time
from copy import replace
from typing import Any

import jwt
import pytest

from byline.aws import dynamodb, secrets_manager
from byline.errors import Misconfigured
from byline.refresh.hints import hint_of
from byline.refresh.token_rows import LastError, TokenRow, lease_key
from byline.tables.rows import rfc3339
from refresh_tokens.handler import RESERVE_SECONDS
from stand_ins.refusal import ACCESS_DENIED, RATE_EXCEEDED
from tests.identity.loopback import answer
from tests.refresh.conftest import Said
from tests.refresh.deployment import Deployment, deployed, message_of, sqs_record
from tests.refresh.issuer_troubles import error, token
from tests.refresh.world import TABLE, World
from tests.runs.runs_api import metrics


def registered(world: World, project: str, tokens: int = 1) -> TokenRow:
    """Register runners with a token each, for a project with a client; returns one token's row."""
    world.give_client(project=project)
    names = (f"runner-{number}" for number in range(tokens))
    return world.register_all(names, project=project)[0]


def has_token(world: World, row: TokenRow) -> bool:
    after = now(world, row)
    return after.slot is not None and world.token(after)["generation"] == after.generation


def now(world: World, row: TokenRow) -> TokenRow:
    """The row as it is now."""
    after = world.live(row.key)
    assert after is not None
    assert after.id == row.id
    return after


def logged(lines: list[str], message: str) -> list[dict[str, Any]]:
    documents = [json.loads(line) for line in lines if line.startswith("{")]
    return [document for document in documents if document.get("message") == message]


def test_work_units_of_a_batch_are_refreshed(deployment: Deployment, said: Said) -> None:
    """Each token is minted, no message is returned, and all are counted."""
    rows = [registered(deployment.world, f"project-{n}", tokens=2) for n in range(3)]
    assert deployment.invoke([message_of(row.work_unit) for row in rows]) == []
    assert all(has_token(deployment.world, row) for row in rows)
    (counted,) = metrics(said(), "Refreshed")
    assert counted["Refreshed"] == [6.0]


def test_messages_of_a_tick_are_refreshed(deployment: Deployment) -> None:
    """The worker reads what the planner writes."""
    row = registered(deployment.world, "payments")
    assert deployment.tick() == {"units": 1}
    assert deployment.work_off() == []
    assert has_token(deployment.world, row)
    assert deployment.tick() == {"units": 0}


def test_new_token_secret_is_encrypted_with_the_operators_key(present: World) -> None:
    """With KmsKeyArn a first generation creates a secret under that key."""
    key = "arn:aws:kms:us-east-1:123456789012:key/0f6b4bbe-1234-11f0-8f6a-0a1b2c3d4e5f"
    with deployed(present, SECRETS_KMS_KEY=key) as deployment:
        row = registered(present, "payments")
        assert deployment.invoke([message_of(row.work_unit)]) == []
    [created] = [call for call in present.aws.calls if call.operation == "CreateSecret"]
    assert created.document["KmsKeyId"] == key


def test_messages_delivered_twice_mint_and_write_once(deployment: Deployment) -> None:
    """Two ticks, and two deliveries of each message."""
    world = deployment.world
    rows = [registered(world, f"project-{n}") for n in range(3)]
    writes = len(world.aws.secrets.writes)
    for _ in range(2):
        deployment.tick()
    assert deployment.work_off(times_each=2) == []
    assert all(has_token(world, row) for row in rows)
    assert world.mints() == len(rows)
    assert len(world.aws.secrets.writes) - writes == len(rows)


def test_work_unit_named_twice_in_a_batch_is_refreshed_once(deployment: Deployment) -> None:
    """If it fails, both messages are returned."""
    row = registered(deployment.world, "payments", tokens=3)
    twice = [message_of(row.work_unit), message_of(row.work_unit)]
    deployment.world.aws.faults.follow("PutItem", ACCESS_DENIED)
    assert deployment.invoke(twice) == [record["messageId"] for record in twice]
    assert deployment.world.aws.count("PutItem") == 1
    assert deployment.invoke(twice) == []
    assert deployment.world.mints() == 3


def test_failed_work_unit_is_returned_and_stops_no_other(
    deployment: Deployment, said: Said
) -> None:
    """Only the message of the work unit with the error is delivered again."""
    world = deployment.world
    rows = [registered(world, f"project-{n}") for n in range(5)]
    records = [message_of(row.work_unit) for row in rows]
    world.aws.faults.follow(
        "Query", afterwards=ACCESS_DENIED, concerns=lambda call: "project-2" in str(call.document)
    )
    assert deployment.invoke(records) == [records[2]["messageId"]]
    assert [has_token(world, row) for row in rows] == [True, True, False, True, True]
    (line,) = logged(said(), "work unit failed")
    assert (line["project"], line["error"]) == ("project-2", "AccessDeniedException")
    world.aws.faults.clear()
    assert deployment.invoke([records[2]]) == []
    assert has_token(world, rows[2])


def test_unexpected_error_fails_one_work_unit(deployment: Deployment, said: Said) -> None:
    """Its message is not logged, because it may quote a secret."""
    rows = [registered(deployment.world, f"project-{n}") for n in range(3)]
    records = [message_of(row.work_unit) for row in rows]

    def fail(params: object, **_: object) -> None:
        if "project-1" in str(params):
            raise ZeroDivisionError("with a t0ken in its message")

    dynamodb().meta.events.register("provide-client-params.dynamodb.BatchGetItem", fail)
    assert deployment.invoke(records) == [records[1]["messageId"]]
    assert [has_token(deployment.world, row) for row in rows] == [True, False, True]
    (line,) = logged(said(), "work unit failed")
    assert line["error"] == "ZeroDivisionError"
    assert line["at"]
    assert "t0ken" not in "".join(said())


@pytest.mark.parametrize("operation", ["GetSecretValue", "CreateSecret"])
def test_unexpected_error_of_one_token_touches_no_other(
    deployment: Deployment, said: Said, operation: str
) -> None:
    """At its mint or at its write: it is counted, postponed and logged without its message."""
    world = deployment.world
    world.give_client("odd")
    row = world.register("odd", client="odd")
    others = world.register_all(["one", "two"])

    def fail(params: dict[str, Any], **_: object) -> None:
        if "/odd" in str(params.get("Name", params.get("SecretId"))):
            raise ZeroDivisionError("with a t0ken in its message")

    event = f"provide-client-params.secrets-manager.{operation}"
    secrets_manager().meta.events.register(event, fail)
    assert deployment.invoke([message_of(row.work_unit)]) == []
    assert [has_token(world, other) for other in others] == [True, True]
    after = world.row("odd")
    assert after is not None
    assert after.last_error is not None
    assert after.last_error.error_class == "unexpected_error"
    assert "ZeroDivisionError" in after.last_error.detail
    assert after.due_at is not None
    assert row.due_at is not None
    assert after.due_at > row.due_at
    (counted,) = metrics(said(), "UnexpectedError")
    # On a slow machine the token is due again before the invocation ends.
    lines = logged(said(), "unexpected error")
    assert lines
    assert counted["UnexpectedError"] == [len(lines)]
    for line in lines:
        assert (line["token"], line["error"]) == (row.id, "ZeroDivisionError")
        assert line["at"]
    assert "t0ken" not in "".join(said())


def test_token_with_impossible_times_touches_no_other(deployment: Deployment) -> None:
    """No text of an issuer stops another client's tokens."""
    world = deployment.world
    odd = jwt.encode({"exp": 1.7e308, "iat": -1.7e308}, "k" * 32)
    world.issuer.respond["/odd"] = token(access_token=odd)
    world.give_client("odd", token_endpoint=f"{world.issuer.url}/odd")
    row = world.register("odd", client="odd")
    others = world.register_all(["one", "two"])
    assert deployment.invoke([message_of(row.work_unit)]) == []
    assert [has_token(world, other) for other in others] == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "payments",
        "[]",
        "{}",
        '{"shard": "07"}',
        '{"shard": 7, "project": "payments"}',
        '{"shard": "07", "project": null}',
        '{"shard": "16", "project": "payments"}',
        '{"shard": "7", "project": "payments"}',
        '{"shard": "07", "project": ""}',
        '{"shard": "07", "project": "\ud800"}',
        '{"shard": "07", "project": "payments", "deadline": "soon"}',
        '{"shard": "07", "project": "payments", "deadline": 1.5}',
        '{"shard": "07", "project": "payments", "deadline": true}',
        '{"shard": "07", "project": "payments", "deadline": -1}',
        '{"shard": "07", "project": "payments", "deadline": 253402300800}',
        "\ud800",
    ],
)
def test_unreadable_message_is_counted_and_skipped(
    deployment: Deployment, said: Said, body: str
) -> None:
    """It is not returned, and the other messages are worked on."""
    row = registered(deployment.world, "payments")
    assert deployment.invoke([sqs_record(body), message_of(row.work_unit)]) == []
    assert has_token(deployment.world, row)
    (counted,) = metrics(said(), "MessageNotUnderstood")
    assert counted["MessageNotUnderstood"] == [1.0]


def test_work_unit_without_tokens_is_done(deployment: Deployment) -> None:
    """A late message finds nothing to do."""
    row = registered(deployment.world, "payments")
    deployment.world.dynamodb.delete_item(TableName=TABLE, Key=row.key)
    assert deployment.invoke([message_of(row.work_unit)]) == []
    assert deployment.world.mints() == 0


def test_work_unit_with_another_lease_is_left_to_its_worker(deployment: Deployment) -> None:
    """The message is done: the other worker looks again before it releases the lease."""
    row = registered(deployment.world, "payments")
    lease = {"owner": {"S": "another"}, "until": {"N": str(int(time.time()) + 60)}}
    deployment.world.dynamodb.put_item(TableName=TABLE, Item=lease_key(row.work_unit) | lease)
    assert deployment.invoke([message_of(row.work_unit)]) == []
    assert not has_token(deployment.world, row)


# Deadlines


def aged(world: World, *deadlines: int, project: str = "payments") -> list[TokenRow]:
    """Register runners with due tokens of one work unit, which expire in these seconds."""
    world.give_client(project=project)
    now = int(time.time())
    rows = []
    names = (f"aged-{number}" for number in range(len(deadlines)))
    for row, left in zip(world.register_all(names, project=project), deadlines, strict=True):
        rows.append(
            replace(row, deadline=now + left, expires_at=now + left, slot=0, slots=1, lifetime=900)
        )
        world.put(rows[-1])
    return rows


def refreshed(world: World, rows: list[TokenRow]) -> list[bool]:
    return [now(world, row).generation > row.generation for row in rows]


def test_deadline_of_a_message_is_the_last_that_is_meant(deployment: Deployment) -> None:
    """To the second; later deadlines wait."""
    rows = aged(deployment.world, -100, 50, 51)
    deployment.invoke([message_of(rows[0].work_unit, deadline=rows[1].deadline)])
    assert refreshed(deployment.world, rows) == [True, True, False]
    deployment.invoke([message_of(rows[0].work_unit)])
    assert refreshed(deployment.world, rows) == [True, True, True]


def test_token_that_was_never_minted_is_always_meant(deployment: Deployment) -> None:
    """It is refreshed whatever the message's deadline."""
    rows = aged(deployment.world, 50, 60)
    new = registered(deployment.world, "payments")
    deployment.invoke([message_of(new.work_unit, deadline=0)])
    assert has_token(deployment.world, new)
    assert refreshed(deployment.world, rows) == [False, False]


def test_retired_token_is_always_meant(deployment: Deployment) -> None:
    """Its sweep needs no write."""
    world = deployment.world
    (row,) = aged(world, 50)
    world.delete("aged-0")
    (retired,) = world.retired()
    deployment.invoke([message_of(row.work_unit, deadline=0)])
    (left,) = world.retired()
    assert int(left["due_at"]["N"]) > int(retired["due_at"]["N"])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(-100, 50, [True, True, False]), (50, -100, [True, True, False]), (50, None, [True] * 3)],
)
def test_work_unit_named_twice_has_the_later_deadline(
    deployment: Deployment, first: int, second: int | None, expected: list[bool]
) -> None:
    """Or no deadline, if one of its messages has none."""
    rows = aged(deployment.world, -100, 50, 51)
    now = rows[1].deadline - 50
    unit = rows[0].work_unit
    later = message_of(unit) if second is None else message_of(unit, deadline=now + second)
    deployment.invoke([message_of(unit, deadline=now + first), later])
    assert refreshed(deployment.world, rows) == expected
    assert deployment.world.mints() == sum(expected)


def test_message_with_a_deadline_delivered_twice_mints_once(deployment: Deployment) -> None:
    """The second delivery finds no token that it means."""
    rows = aged(deployment.world, -100, 50)
    message = message_of(rows[0].work_unit, deadline=rows[0].deadline)
    for _ in range(2):
        assert deployment.invoke([message]) == []
    assert refreshed(deployment.world, rows) == [True, False]
    assert deployment.world.mints() == 1


# Time


def test_work_without_time_waits_for_the_next_tick(present: World, said: Said) -> None:
    """It stays due, and no message is sent for it."""
    with deployed(present, WRITES_PER_SECOND="10") as deployment:
        rows = [registered(present, f"project-{n}", tokens=30) for n in range(2)]
        records = [message_of(row.work_unit) for row in rows]
        assert deployment.invoke(records, seconds=RESERVE_SECONDS + 1.5) == []
        assert 5 <= present.aws.count("CreateSecret", "done") < 60
        assert deployment.sent() == []
    with deployed(present) as deployment:
        assert deployment.tick() == {"units": 2}
        assert deployment.work_off() == []
        assert present.aws.count("CreateSecret", "done") == 60
    del said


def test_worker_without_time_makes_no_call(deployment: Deployment) -> None:
    """An invocation with less time than its reserve leaves all work to the next tick."""
    row = registered(deployment.world, "payments")
    assert deployment.invoke([message_of(row.work_unit)], seconds=RESERVE_SECONDS - 1) == []
    assert deployment.world.aws.calls == []
    assert deployment.tick() == {"units": 1}
    assert deployment.work_off() == []
    assert has_token(deployment.world, row)


def test_small_work_units_do_not_wait_for_a_large_one(present: World, said: Said) -> None:
    """The large one is first in the batch and would use the whole write limit."""
    with deployed(present, WRITES_PER_SECOND="10") as deployment:
        big = registered(present, "big", tokens=60)
        small = [registered(present, f"small-{n}") for n in range(9)]
        records = [message_of(row.work_unit) for row in (big, *small)]
        assert deployment.invoke(records, seconds=RESERVE_SECONDS + 3) == []
        assert all(has_token(present, row) for row in small)
        assert present.aws.count("CreateSecret", "done") < 60
    del said


# Tokens that do not wait for the next tick


def test_short_lived_tokens_get_a_message_before_the_tick(deployment: Deployment) -> None:
    """A token of 60 seconds is due after 27 to 30 seconds, before the next tick."""
    world = deployment.world
    world.issuer.lifetime = 60
    row = registered(world, "payments", tokens=5)
    deployment.invoke([message_of(row.work_unit)])
    (message,) = deployment.sent()
    after = [world.row(f"runner-{number}") for number in range(5)]
    assert json.loads(message["MessageBody"]) == {
        "shard": row.shard,
        "project": "payments",
        "deadline": max(row.deadline for row in after if row is not None),
    }
    assert 25 <= message["DelaySeconds"] <= 30
    assert message["MessageGroupId"] == "payments"


@pytest.mark.parametrize(("lifetime", "messages"), [(230, 1), (300, 0)])
def test_longer_lived_tokens_wait_for_the_tick(
    deployment: Deployment, lifetime: int, messages: int
) -> None:
    """A token that is due within two minutes gets a message, later ones do not."""
    deployment.world.issuer.lifetime = lifetime
    row = registered(deployment.world, "payments")
    deployment.invoke([message_of(row.work_unit)])
    assert len(deployment.sent()) == messages


def test_failed_first_mint_is_retried_before_the_next_tick(deployment: Deployment) -> None:
    """A back-off of seconds has no effect if each retry waits for a tick."""
    deployment.world.issuer.respond["/token"] = answer(status="503 Later")
    row = registered(deployment.world, "payments", tokens=3)
    deployment.invoke([message_of(row.work_unit)])
    (message,) = deployment.sent()
    assert 0 < message["DelaySeconds"] <= 6


@pytest.mark.parametrize(
    ("lifetime", "life", "messages"),
    [(300, 100, 1), (300, -5, 0), (418, 100, 1), (420, 100, 0), (900, 100, 0)],
)
def test_failed_short_lived_token_gets_a_message(
    deployment: Deployment, lifetime: int, life: int, messages: int
) -> None:
    """Only for tokens that live; the planner decides about all others."""
    world = deployment.world
    world.issuer.respond["/token"] = answer(status="503 Later")
    (row,) = aged(world, life)
    world.put(replace(row, lifetime=lifetime))
    deployment.invoke([message_of(row.work_unit)])
    assert [json.loads(sent["MessageBody"])["deadline"] for sent in deployment.sent()] == [
        row.deadline
    ] * messages


def test_refused_refresh_gets_no_message(deployment: Deployment) -> None:
    """Nobody can mend it within two minutes."""
    deployment.world.issuer.respond["/token"] = error("400 No", "invalid_scope")
    row = registered(deployment.world, "payments")
    deployment.invoke([message_of(row.work_unit)])
    assert deployment.sent() == []


def test_refused_new_secret_gets_a_message(deployment: Deployment) -> None:
    """Its next try comes before the tick, although the token lives long."""
    world = deployment.world
    row = registered(world, "payments")
    deployment.invoke([message_of(row.work_unit)])
    after = now(world, row)
    assert after.due_at is not None
    world.put(replace(after, due_at=int(time.time())))
    world.issuer.respond["/token"] = error("401 Who", "invalid_client")
    deployment.invoke([message_of(row.work_unit)])
    (message,) = deployment.sent()
    assert 8 <= message["DelaySeconds"] <= 10


def test_refused_message_fails_nothing(deployment: Deployment, said: Said) -> None:
    """The rows are due, so the next tick sends the same."""
    deployment.world.issuer.lifetime = 60
    row = registered(deployment.world, "payments")
    deployment.world.aws.faults.follow("SendMessage", afterwards=ACCESS_DENIED)
    assert deployment.invoke([message_of(row.work_unit)]) == []
    assert has_token(deployment.world, row)
    (line,) = logged(said(), "message not sent")
    assert line["error"] == "AccessDeniedException"


# Metrics and log


def test_failed_mints_are_counted_by_class_and_logged_with_their_reason(
    deployment: Deployment, said: Said
) -> None:
    """Once for each request to the issuer, however many tokens wait for it."""
    world = deployment.world
    world.issuer.respond["/token"] = error("401 Who", "invalid_client")
    row = registered(world, "payments", tokens=3)
    deployment.invoke([message_of(row.work_unit)])
    by_class = {
        document.get("error_class"): document["MintFailed"]
        for document in metrics(said(), "MintFailed")
    }
    assert by_class == {None: [1.0], "invalid_client": [1.0]}
    (counted,) = metrics(said(), "Postponed")
    assert counted["Postponed"] == [3.0]
    (line,) = logged(said(), "mint failed")
    failed = world.row("runner-0")
    assert failed is not None
    assert failed.last_error is not None
    named = {name: line[name] for name in ("project", "client", "error_class", "detail")}
    assert named == {
        "project": "payments",
        "client": "scheduler",
        "error_class": "invalid_client",
        "detail": failed.last_error.detail,
    }
    assert "status 401" in line["detail"]
    assert line["hint"] == hint_of("invalid_client")
    assert line["since"] == rfc3339(failed.last_error.since)
    assert line["next_try_at"] > line["since"]
    waiting = logged(said(), "refresh failed")
    assert len({line["token"] for line in waiting}) == 3
    assert {line["detail"] for line in waiting} == {line["detail"]}


def test_failures_are_logged_since_the_first_of_their_series(
    deployment: Deployment, said: Said
) -> None:
    """Whatever their classes. A success ends the series."""
    world = deployment.world
    row = registered(world, "payments")
    began = int(time.time()) - 500
    past = LastError(error_class="issuer_timeout", detail="", since=began, at=began)
    world.put(replace(row, attempts=3, last_error=past))
    world.issuer.respond["/token"] = error("400 No", "invalid_scope")
    deployment.invoke([message_of(row.work_unit)])
    (line,) = logged(said(), "refresh failed")
    assert (line["error_class"], line["since"]) == ("invalid_scope", rfc3339(began))
    world.issuer.respond.clear()
    world.put(replace(now(world, row), due_at=int(time.time()), next_try_at=None))
    deployment.invoke([message_of(row.work_unit)])
    assert now(world, row).last_error is None


def test_unusual_answer_is_logged_by_client(deployment: Deployment, said: Said) -> None:
    """The token is used, and an operator can tell the issuer's administrator what is wrong."""
    deployment.world.issuer.answer["expires_in"] = 1_790_000_000
    row = registered(deployment.world, "payments")
    deployment.invoke([message_of(row.work_unit)])
    assert has_token(deployment.world, row)
    (line,) = logged(said(), "unusual answer")
    assert (line["project"], line["client"]) == ("payments", "scheduler")
    assert "`expires_in`" in line["detail"]


def test_throttled_writes_are_counted(deployment: Deployment, said: Said) -> None:
    """They have an alarm: other writers use up the account's limit."""
    row = registered(deployment.world, "payments")
    deployment.world.aws.faults.follow("CreateSecret", afterwards=RATE_EXCEEDED)
    deployment.invoke([message_of(row.work_unit)])
    (counted,) = metrics(said(), "StoreThrottled")
    assert counted["StoreThrottled"] == [1.0]


def test_each_invocation_writes_its_own_counts(deployment: Deployment, said: Said) -> None:
    """An invocation that did nothing writes no metric."""
    for number in range(2):
        row = registered(deployment.world, f"project-{number}")
        deployment.invoke([message_of(row.work_unit)])
        deployment.invoke([message_of(row.work_unit)])
    assert [document["Refreshed"] for document in metrics(said(), "Refreshed")] == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUNNERS_TABLE", ""),
        ("REFRESH_QUEUE_URL", ""),
        ("SECRET_PREFIX", ""),
        ("SECRET_PREFIX", "prod/clients"),
        ("POWERTOOLS_SERVICE_NAME", ""),
        ("WRITES_PER_SECOND", "0"),
        ("WRITES_PER_SECOND", "many"),
        ("DEFAULT_TOKEN_LIFETIME", "59"),
    ],
)
def test_wrong_variable_fails_the_cold_start(present: World, name: str, value: str) -> None:
    """The error names the variable."""
    with pytest.raises(Misconfigured, match=name), deployed(present, **{name: value}):
        pass
