"""A refresh that another worker, a registration or a deletion overtook.

A row may be absent, unread (DynamoDB did not answer for it) or unreadable. Only an absent row means
that a runner's secrets may be deleted.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

from byline.refresh.runner_rows import RunnerRow, lease_key
from stand_ins.faults import Call, Meanwhile
from stand_ins.refusal import RATE_EXCEEDED
from tests.refresh.world import TABLE, Worker, World, new_world


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


@pytest.fixture
def due(world: World) -> RunnerRow:
    """A runner whose token is due for its second refresh."""
    world.worker().refresh(world.register("nightly").work_unit)
    world.clock.advance(600)
    return row_of(world, "nightly")


def row_of(world: World, runner: str) -> RunnerRow:
    row = world.row(runner)
    assert row is not None
    return row


def is_commit(call: Call) -> bool:
    """Whether a call puts the runner's own row."""
    item: dict[str, Any] = call.document.get("Item", {})
    return item.get("runner") == {"S": "nightly"}


def refresh_overtaken(world: World, due: RunnerRow, meanwhile: Callable[[Worker], object]) -> None:
    """Refresh, and let something happen right before the worker commits."""
    worker = world.worker()
    world.aws.faults.follow("PutItem", Meanwhile(lambda: meanwhile(worker)), concerns=is_commit)
    with suppress(ClientError):
        worker.refresh(due.work_unit)


def refresh_by_another_worker(world: World, due: RunnerRow) -> None:
    """What a second worker does once the first one's lease is over."""
    world.dynamodb.delete_item(TableName=TABLE, Key=lease_key(due.work_unit))
    assert world.worker().refresh(due.work_unit) == "done"


def spoil(world: World, row: RunnerRow) -> None:
    """A number that no version of the code writes."""
    world.dynamodb.update_item(
        TableName=TABLE,
        Key=row.key,
        UpdateExpression="SET attempts = :half, due_at = due_at + :one",
        ExpressionAttributeValues={":half": {"N": "1.5"}, ":one": {"N": "1"}},
    )


def leave_out_all(parsed: dict[str, Any], **_: object) -> None:
    """As DynamoDB answers where it had no capacity for any key of a BatchGetItem."""
    keys = [
        {name: item[name] for name in ("project", "runner")} for item in parsed["Responses"][TABLE]
    ]
    parsed |= {"Responses": {}, "UnprocessedKeys": {TABLE: {"Keys": keys}}}


def test_row_that_dynamodb_does_not_answer_for_keeps_its_token(
    world: World, due: RunnerRow
) -> None:
    """Another worker committed the same refresh. A throttled read does not mean "deleted"."""

    def overtake(worker: Worker) -> None:
        refresh_by_another_worker(world, due)
        events = worker.clients[0].meta.events
        events.register("after-call.dynamodb.BatchGetItem", leave_out_all)
        world.aws.faults.follow("GetItem", afterwards=RATE_EXCEEDED)

    refresh_overtaken(world, due, overtake)
    world.aws.faults.clear()
    after = row_of(world, "nightly")
    assert after.generation == due.generation + 1
    assert world.token(after)["generation"] == after.generation
    assert world.aws.count("DeleteSecret") == 0


def test_row_that_cannot_be_read_keeps_its_token(world: World, due: RunnerRow) -> None:
    """A row that was changed by hand still belongs to a registered runner."""
    refresh_overtaken(world, due, lambda _: spoil(world, due))
    assert world.aws.count("PutItem", "ConditionalCheckFailedException") == 1
    assert world.aws.count("DeleteSecret") == 0


def test_sweep_spares_the_secrets_of_a_row_that_cannot_be_read(
    world: World, due: RunnerRow
) -> None:
    """A deleted runner's name was registered again, and the new row was changed by hand."""
    world.delete(due)
    spoil(world, world.register("nightly"))
    worker = world.worker()
    worker.refresh(due.work_unit)
    assert world.aws.count("DeleteSecret") == 0
    assert worker.failed_sweeps == [("nightly", "UnreadableRow")]


def test_token_is_not_revoked_while_an_unreadable_runner_may_share_it(world: World) -> None:
    """A row that cannot be read may be of the same client, audience and scopes."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    deleted, other = world.register("deleted"), world.register("other")
    worker = world.worker()
    worker.refresh(other.work_unit)
    spoil(world, other)
    world.delete(row_of(world, "deleted"))
    worker.refresh(deleted.work_unit)
    assert world.issuer.revoked == []


@pytest.mark.parametrize(("refreshes", "is_due"), [(1, False), (2, True)])
def test_runner_is_refreshed_again_where_two_refreshes_overtook_a_write(
    world: World, due: RunnerRow, refreshes: int, *, is_due: bool
) -> None:
    """An old token may stand over the newest one. After one refresh both are the same token."""

    def overtake(_: Worker) -> None:
        for refresh in range(refreshes):
            world.clock.advance(600 * refresh)
            refresh_by_another_worker(world, due)

    refresh_overtaken(world, due, overtake)
    after = row_of(world, "nightly")
    assert after.generation == due.generation + refreshes
    assert after.due_at is not None
    assert (after.due_at <= world.clock()) is is_due
