"""A runner's whole life, every message of it delivered twice at once, and all once more at the end.

Queues and schedules deliver at least once; two workers whose clocks differ take each message.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from byline.refresh.runner_rows import RunnerRow
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


class Life:
    """The runner, its world, and the messages that were sent about it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages: list[WorkUnit] = []
        client = world.aws.client("dynamodb")
        audit = AuditTrail(client, ACCESS_TABLE, now=world.clock)
        self._store = RunnerStore(client, TABLE, audit=audit, now=world.clock)

    def register(self, audience: str) -> None:
        """What the route does, the same request twice, and its message."""
        registration = RunnerRegistration(
            project=PROJECT,
            runner=RUNNER,
            body=RegisterRunner(client="scheduler", audience=audience),
            action=ActionContext(None, str(uuid4())),
        )
        for _ in range(2):
            row, _outcome = self._store.register(registration, permit=lambda *_: None)
        self.deliver(row.work_unit)

    def delete(self) -> WorkUnit:
        """What the route does, and its message."""
        row = self._store.delete(PROJECT, RUNNER, action=ActionContext(None, str(uuid4())))
        self.deliver(row.work_unit)
        return row.work_unit

    def fall_due(self) -> None:
        """Time goes on until the runner is due, and two ticks send a message."""
        row = self.row()
        assert row.due_at is not None
        self.world.clock.advance(row.due_at - self.world.clock() + 60)
        self.deliver(row.work_unit)
        self.deliver(row.work_unit)

    def deliver(self, unit: WorkUnit) -> None:
        """A message to two workers at once."""
        self.messages.append(unit)
        workers = [self.world.worker(skew=skew) for skew in (0, 10)]
        with ThreadPoolExecutor(2) as processes:
            outcomes = [*processes.map(lambda worker: worker.refresh(unit), workers)]
        assert set(outcomes) <= {"done", "held"}

    def row(self) -> RunnerRow:
        row = self.world.row(RUNNER)
        assert row is not None
        return row

    def spent(self) -> tuple[int, int]:
        """The mints and the writes so far."""
        writes = [write for write in self.world.aws.secrets.writes if "/runners/" in write.secret]
        return self.world.mints(), len(writes)


@pytest.fixture
def life() -> Iterator[Life]:
    with new_world() as world:
        yield Life(world)


def test_life_with_every_message_twice_costs_what_it_costs_once(life: Life) -> None:
    """One mint and one write for each token, none for what comes too late, and nothing is left."""
    life.register("models")
    assert life.spent() == (1, 1)
    life.fall_due()
    assert life.spent() == (2, 2)
    life.register("other")
    assert life.spent() == (3, 3)
    life.world.issuer.respond["/token"] = answer(status="503 Later")
    life.fall_due()
    mints, writes = life.spent()
    assert writes == 3
    assert mints <= 3 + 4, "each delivery may ask once"
    life.world.issuer.respond.clear()
    life.fall_due()
    assert life.spent() == (mints + 1, 4)
    assert_consistent(life.world, runners=(RUNNER,))
    unit = life.delete()
    life.world.clock.advance(SWEEP_AGAIN_SECONDS)
    life.deliver(unit)
    for message in [*life.messages]:
        life.world.clock.advance(3_600)
        life.deliver(message)
    assert life.spent() == (mints + 1, 4)
    assert life.world.row(RUNNER) is None
    assert [name for name in life.world.aws.secrets.names() if "/runners/" in name] == []
    assert_no_secret_outside(life.world)
