"""The life of a runner with every message delivered twice concurrently, and once more at the end.

Queues and schedules deliver at least once. Two workers with different clocks take each message.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import WorkUnit
from refresh_tokens.sweeper import SWEEP_AGAIN_SECONDS
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.store import RunnerStore
from tests.identity.loopback import answer
from tests.refresh.troubles import assert_consistent, assert_no_secret_outside
from tests.refresh.world import TABLE, World, new_world
from tests.runs.table_server import ACCESS_TABLE

PROJECT, RUNNER = "payments", "nightly"


class Lifecycle:
    """A runner, its simulated AWS and the messages that were sent for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages: list[WorkUnit] = []
        client = world.client("dynamodb")
        audit = AuditTrail(client, ACCESS_TABLE, now=world.clock)
        self._store = RunnerStore(client, TABLE, audit=audit, now=world.clock)

    def register(self, audience: str) -> None:
        """Register the runner twice by one request, as the route does, and deliver its message."""
        registration = RunnerRegistration(
            project=PROJECT,
            runner=RUNNER,
            body=RegisterRunner(client="scheduler", audience=audience),
            action=ActionContext(None, str(uuid4())),
        )
        for _ in range(2):
            registered = self._store.register(registration, permit=lambda *_: None)
        self.deliver(registered.runner.token.work_unit)

    def delete(self) -> WorkUnit:
        """Delete the runner as the route does, and deliver its message."""
        row = self._store.delete(PROJECT, RUNNER, action=ActionContext(None, str(uuid4())))
        assert row is not None, "the token has no other runner"
        self.deliver(row.work_unit)
        return row.work_unit

    def fall_due(self) -> None:
        """Advance the clock until the runner is due, and deliver the messages of two ticks."""
        row = self.row()
        assert row.due_at is not None
        self.world.clock.advance(row.due_at - self.world.clock() + 60)
        self.deliver(row.work_unit)
        self.deliver(row.work_unit)

    def deliver(self, unit: WorkUnit) -> None:
        """Deliver a message to two workers concurrently."""
        self.messages.append(unit)
        workers = [self.world.worker(skew=skew) for skew in (0, 10)]
        with ThreadPoolExecutor(2) as processes:
            outcomes = [*processes.map(lambda worker: worker.refresh(unit), workers)]
        assert set(outcomes) <= {"done", "held"}

    def row(self) -> TokenRow:
        """The row of the runner's token, which must exist."""
        row = self.world.row(RUNNER)
        assert row is not None
        return row

    def mints_and_writes(self) -> tuple[int, int]:
        """The numbers of mints and of secret writes so far."""
        writes = [write for write in self.world.aws.secrets.writes if "/tokens/" in write.secret]
        return self.world.mints(), len(writes)


@pytest.fixture
def lifecycle() -> Iterator[Lifecycle]:
    """A runner in a simulated AWS of its own."""
    with new_world() as world:
        yield Lifecycle(world)


def test_repeated_messages_cause_no_second_mint_or_write(lifecycle: Lifecycle) -> None:
    """Each token is minted and written once, and late messages cause neither."""
    lifecycle.register("models")
    assert lifecycle.mints_and_writes() == (1, 1)
    lifecycle.fall_due()
    assert lifecycle.mints_and_writes() == (2, 2)
    lifecycle.register("other")
    assert lifecycle.mints_and_writes() == (3, 3)
    lifecycle.world.issuer.respond["/token"] = answer(status="503 Later")
    lifecycle.fall_due()
    mints, writes = lifecycle.mints_and_writes()
    assert writes == 3
    assert mints <= 3 + 4, "each delivery may try one mint"
    lifecycle.world.issuer.respond.clear()
    lifecycle.fall_due()
    assert lifecycle.mints_and_writes() == (mints + 1, 4)
    assert_consistent(lifecycle.world, runners=(RUNNER,))
    unit = lifecycle.delete()
    lifecycle.world.clock.advance(SWEEP_AGAIN_SECONDS)
    lifecycle.deliver(unit)
    for message in [*lifecycle.messages]:
        lifecycle.world.clock.advance(3_600)
        lifecycle.deliver(message)
    assert lifecycle.mints_and_writes() == (mints + 1, 4)
    assert lifecycle.world.row(RUNNER) is None
    assert [name for name in lifecycle.world.aws.secrets.names() if "/tokens/" in name] == []
    assert_no_secret_outside(lifecycle.world)
