"""A work unit with each kind of token, faults for it, and what must hold during and after them."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from byline.refresh.token_rows import TokenRow, read_token_row, tokens_of
from byline.tables.rows import Contended
from refresh_tokens.retries import BACK_OFF_CAP_SECONDS, NEW_SECRET_SECONDS
from refresh_tokens.sweeper import SWEEP_AGAIN_SECONDS
from stand_ins.faults import Call
from tests.refresh.world import LEASE_SECONDS, SECRETS, TABLE, Worker, World

OLD, NEW, GONE = "old", "new", "gone"

SLICES_WITH_FAULTS = 3

MOST_CALLS_A_SLICE = 40
"""Calls of one operation for three tokens: no retry without a pause."""


def prepared(world: World) -> TokenRow:
    """A token that is due, a new one, a retired one, and one of another project.

    All of one client, and each of one runner; the retired one's runner was `GONE`.
    """
    world.give_client(project="others", token_endpoint=f"{world.issuer.url}/others")
    world.clock.advance(NEW_SECRET_SECONDS)
    old, _ = world.register_all([OLD, GONE])
    world.worker().refresh(old.work_unit)
    world.clock.advance(600)
    world.delete(GONE)
    world.register(NEW, isolated=True)
    world.register("bystander", project="others")
    return old


def of_payments(call: Call) -> bool:
    """Whether a call is about the work unit with faults, and not about the other project."""
    return "others" not in str(call.document)


@dataclass(frozen=True)
class Seen:
    """The error classes and the number of calls during faults."""

    error_classes: set[str]
    most_calls: int


def work_in_trouble(world: World, worker: Worker, row: TokenRow, operation: str) -> Seen:
    """Run some time slices with faults of `operation`, with the same checks after each."""
    before = tokens(world)
    most_calls = 0
    for _ in range(SLICES_WITH_FAULTS):
        calls = world.aws.count(operation)
        with suppress(ClientError, BotoCoreError, Contended):
            worker.refresh(row.work_unit)
        most_calls = max(most_calls, world.aws.count(operation) - calls)
        for runner in (OLD, NEW):
            now = world.row(runner)
            assert now is not None, "a runner was lost"
            assert now.is_live
            assert now.due_at is not None
        assert_no_token_went_back(before, tokens(world))
        world.clock.advance(10)
    assert most_calls <= MOST_CALLS_A_SLICE
    error_classes = {
        left.last_error.error_class
        for runner in (OLD, NEW)
        if (left := world.row(runner)) and left.last_error
    }
    return Seen(error_classes, most_calls)


def assert_neighbour_is_well(world: World, worker: Worker) -> None:
    """The other project's token is minted."""
    row = world.row("bystander", project="others")
    assert row is not None
    assert worker.refresh(row.work_unit) == "done"
    row = world.row("bystander", project="others")
    assert row is not None
    assert world.token(row)["generation"] == row.generation


def assert_all_recover(world: World, row: TokenRow, *, after: float = 0) -> None:
    """After the faults, the next tick refreshes all tokens and sweeps the retired one."""
    world.aws.faults.clear()
    world.clock.advance(max(BACK_OFF_CAP_SECONDS, LEASE_SECONDS, after) + 10)
    worker = world.worker()
    assert worker.refresh(row.work_unit) == "done"
    assert_consistent(world, runners=(OLD, NEW))
    world.clock.advance(SWEEP_AGAIN_SECONDS)
    assert worker.refresh(row.work_unit) == "done"
    assert secrets_of("payments", world) == tokens(world).keys()


def assert_consistent(world: World, *, runners: tuple[str, ...]) -> None:
    """Each runner's token exists, is the newest in its secret, and expires when the row says."""
    for runner in runners:
        row = world.row(runner)
        assert row is not None, runner
        assert row.slot is not None, runner
        token = world.token(row)
        assert token["generation"] == row.generation
        current = world.current(world.secret(row, row.slot))
        assert current["generation"] == row.generation, "an older token stands over a newer one"
        assert row.expires_at is not None
        expires_at = datetime.fromisoformat(token["expires_at"]).timestamp()
        assert row.expires_at == expires_at, "the row has another generation's time"
        assert row.expires_at > world.clock() + 300
        assert row.due_at is not None
        assert row.due_at > world.clock()
    assert_no_secret_outside(world)


def tokens(world: World) -> dict[str, Any]:
    """The generation in each secret of the live tokens of the work unit."""
    items = world.dynamodb.query(
        TableName=TABLE,
        KeyConditionExpression="#project = :project",
        ExpressionAttributeNames={"#project": "project"},
        ExpressionAttributeValues={":project": tokens_of("payments")},
    )["Items"]
    live = {world.secret(read_token_row(item), 0)[:-1] for item in items}
    return {
        name: world.current(name)["generation"]
        for name in secrets_of("payments", world)
        if name[:-1] in live
    }


def secrets_of(project: str, world: World) -> set[str]:
    """The names of all secrets with a token of the project."""
    secrets = world.aws.secrets
    return {
        name
        for name in secrets.names()
        if name.startswith(f"{SECRETS.prefix}/tokens/{project}/")
        and (found := secrets.find(name)) is not None
        and found.deletion is None
    }


def assert_no_token_went_back(before: dict[str, Any], after: dict[str, Any]) -> None:
    """No secret of a live token was deleted or has an older generation than before."""
    for name, generation in before.items():
        assert after[name] >= generation, "an older token stands over a newer one"


def assert_no_secret_outside(world: World) -> None:
    """No secret text is in any row, or in any member of a call that is not for it."""
    assert len(world.aws.secrets.texts) > 0
    assert world.aws.leaks() == []
    assert not world.aws.secrets.texts.occur_in(world.rows())
