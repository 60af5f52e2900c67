"""A work unit with each kind of runner, faults for it, and what must hold during and after them."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from byline.refresh.runner_rows import RunnerRow
from byline.tables.rows import Contended
from refresh_tokens.retries import BACK_OFF_CAP_SECONDS, NEW_SECRET_SECONDS
from refresh_tokens.sweeper import SWEEP_AGAIN_SECONDS
from stand_ins.faults import Call
from tests.refresh.world import LEASE_SECONDS, SECRETS, Worker, World

OLD, NEW, GONE = "old", "new", "gone"

SLICES_WITH_FAULTS = 3

MOST_CALLS_A_SLICE = 40
"""Calls of one operation for three runners: no retry without a pause."""


def prepared(world: World) -> RunnerRow:
    """A runner whose token is due, a new one, a deleted one, and one of another project."""
    world.give_client(project="others", token_endpoint=f"{world.issuer.url}/others")
    world.clock.advance(NEW_SECRET_SECONDS)
    old, gone = world.register(OLD), world.register(GONE)
    world.worker().refresh(old.work_unit)
    world.clock.advance(600)
    row = world.row(GONE)
    assert row is not None
    world.delete(row)
    world.register(NEW)
    world.register("bystander", project="others")
    assert gone.work_unit == old.work_unit
    return old


def of_payments(call: Call) -> bool:
    """Whether a call is about the work unit with faults, and not about the other project."""
    return "others" not in str(call.document)


@dataclass(frozen=True)
class Seen:
    """The error classes and the number of calls during faults."""

    error_classes: set[str]
    most_calls: int


def work_in_trouble(world: World, worker: Worker, row: RunnerRow, operation: str) -> Seen:
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
    """The other project's runner has its token."""
    row = world.row("bystander", project="others")
    assert row is not None
    assert worker.refresh(row.work_unit) == "done"
    row = world.row("bystander", project="others")
    assert row is not None
    assert world.token(row)["generation"] == row.generation


def assert_all_recover(world: World, row: RunnerRow, *, after: float = 0) -> None:
    """After the faults, the next tick refreshes all runners and sweeps the deleted one."""
    world.aws.faults.clear()
    world.clock.advance(max(BACK_OFF_CAP_SECONDS, LEASE_SECONDS, after) + 10)
    worker = world.worker()
    assert worker.refresh(row.work_unit) == "done"
    assert_consistent(world, runners=(OLD, NEW))
    world.clock.advance(SWEEP_AGAIN_SECONDS)
    assert worker.refresh(row.work_unit) == "done"
    for slot in range(2):
        secret = world.aws.secrets.find(SECRETS.token("payments", GONE, slot))
        assert secret is None or secret.deletion is not None


def assert_consistent(world: World, *, runners: tuple[str, ...]) -> None:
    """Each runner's row names a token that exists, is its newest, and expires when the row says."""
    for runner in runners:
        row = world.row(runner)
        assert row is not None, runner
        assert row.slot is not None, runner
        token = world.token(row)
        assert token["generation"] == row.generation
        current = world.current(SECRETS.token(row.project, row.runner, row.slot))
        assert current["generation"] == row.generation, "an older token stands over a newer one"
        assert row.expires_at is not None
        expires_at = datetime.fromisoformat(token["expires_at"]).timestamp()
        assert row.expires_at == expires_at, "the row has another token's time"
        assert row.expires_at > world.clock() + 300
        assert row.due_at is not None
        assert row.due_at > world.clock()
    assert_no_secret_outside(world)


def tokens(world: World) -> dict[str, Any]:
    """The generation in each secret of the work unit."""
    names = [
        name
        for name in world.aws.secrets.names()
        if name.startswith(f"{SECRETS.prefix}/runners/pay")
    ]
    return {name: world.current(name)["generation"] for name in names if not _is(GONE, name)}


def assert_no_token_went_back(before: dict[str, Any], after: dict[str, Any]) -> None:
    """No secret of a live runner was deleted or has an older token than before."""
    for name, generation in before.items():
        assert after[name] >= generation, "an older token stands over a newer one"


def assert_no_secret_outside(world: World) -> None:
    """No secret text is in any row, or in any member of a call that is not for it."""
    assert len(world.aws.secrets.texts) > 0
    assert world.aws.leaks() == []
    assert not world.aws.secrets.texts.occur_in(world.rows())


def _is(runner: str, name: str) -> bool:
    return name.split("/")[-2] == runner
