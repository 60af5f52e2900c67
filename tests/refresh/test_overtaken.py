"""A refresh that another worker, a request for another one, or a deletion overtook.

A row may be absent, unread (DynamoDB did not answer for it) or unreadable. Only an absent row means
that a token's secrets may be deleted.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from byline.refresh.token_rows import TokenRow, lease_key
from stand_ins.faults import Meanwhile
from stand_ins.refusal import RATE_EXCEEDED
from tests.refresh.world import TABLE, Worker, World, new_world


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


@pytest.fixture
def due(world: World) -> TokenRow:
    """A token that is due for its second refresh."""
    world.worker().refresh(world.register("nightly").work_unit)
    world.clock.advance(600)
    return row_of(world, "nightly")


def row_of(world: World, runner: str) -> TokenRow:
    row = world.row(runner)
    assert row is not None
    return row


def refresh_overtaken(world: World, due: TokenRow, meanwhile: Callable[[Worker], object]) -> Worker:
    """Refresh, and let something happen right before the worker commits."""
    worker = world.worker()
    world.aws.faults.follow("UpdateItem", Meanwhile(lambda: meanwhile(worker)))
    with suppress(ClientError):
        worker.refresh(due.work_unit)
    return worker


def refresh_by_another_worker(world: World, due: TokenRow) -> None:
    """What a second worker does once the first one's lease is over."""
    world.dynamodb.delete_item(TableName=TABLE, Key=lease_key(due.work_unit))
    assert world.worker().refresh(due.work_unit) == "done"


def spoil(world: World, row: TokenRow) -> None:
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


def test_row_that_dynamodb_does_not_answer_for_keeps_its_token(world: World, due: TokenRow) -> None:
    """Another worker committed the same refresh. A throttled read does not mean "retired"."""

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


def test_row_that_cannot_be_read_keeps_its_token(world: World, due: TokenRow) -> None:
    """Runners point to it still, although it was changed by hand."""
    refresh_overtaken(world, due, lambda _: spoil(world, due))
    assert world.aws.count("UpdateItem", "ConditionalCheckFailedException") == 1
    assert world.aws.count("DeleteSecret") == 0


def test_token_is_not_revoked_while_an_unreadable_row_is_for_the_same(world: World) -> None:
    """The issuer may have given it out for that row too."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    row = world.register("first")
    worker = world.worker()
    worker.refresh(row.work_unit)
    world.delete("first")
    spoil(world, world.register("second"))
    worker.refresh(row.work_unit)
    assert world.aws.count("DeleteSecret") > 0
    assert world.issuer.revoked == []


def test_token_made_due_during_its_refresh_is_looked_at_again_at_once(
    world: World, due: TokenRow
) -> None:
    """Its message found the lease held. The generation that was written is committed."""

    def make_due(_: Worker) -> None:
        now = int(world.clock())
        world.put(replace(due, due_at=now, asked_at=now, attempts=3))

    world.clock.advance(1)
    refresh_overtaken(world, due, make_due)
    after = row_of(world, "nightly")
    assert (after.generation, after.attempts) == (due.generation + 1, 0)
    assert after.asked_at is not None
    assert world.token(after)["generation"] == after.generation


def test_token_retired_and_registered_anew_during_its_refresh_leaves_no_secret(
    world: World, due: TokenRow
) -> None:
    """The new row for the same is another token, with other secrets."""

    def register_anew(_: Worker) -> None:
        world.delete("nightly")
        world.register("nightly")

    refresh_overtaken(world, due, register_anew)
    after = row_of(world, "nightly")
    assert after.id != due.id
    assert after.generation <= 1
    assert all(world.is_deleted(due, slot) for slot in range(2))


@pytest.mark.parametrize(("refreshes", "is_due"), [(1, False), (2, True)])
def test_token_is_refreshed_again_where_two_refreshes_overtook_a_write(
    world: World, due: TokenRow, refreshes: int, *, is_due: bool
) -> None:
    """An old generation may stand over the newest one. After one refresh both are the same."""

    def overtake(_: Worker) -> None:
        for refresh in range(refreshes):
            world.clock.advance(600 * refresh)
            refresh_by_another_worker(world, due)

    refresh_overtaken(world, due, overtake)
    after = row_of(world, "nightly")
    assert after.generation == due.generation + refreshes
    assert after.due_at is not None
    assert (after.due_at <= world.clock()) is is_due
