"""`make backfill`, and marking what was written before registration was switched on."""

from collections.abc import Iterator

import pytest

from register_resources.pending_rows import RunKey
from serve_runs.runs.requests import CreateRun
from stand_ins.authorization_service import Fails, serve_authorization
from tests.register.world import ADA, World
from tests.runs.table_server import TABLE, DynamoDb, serve_dynamodb
from tools.backfill import backfill, on_this_machine
from tools.mark_unregistered import mark_all


@pytest.mark.parametrize(
    ("pending", "left", "invocations"),
    [([0], 0, 1), ([30, 10, 0], 0, 3), ([5, 5], 5, 2), ([7, 3, 3], 3, 3), ([2, 9], 9, 2)],
)
def test_backfill_goes_on_while_it_achieves_something(
    pending: list[int], left: int, invocations: int
) -> None:
    """Until nothing waits, or what waits is not getting less."""
    said: list[str] = []
    answers = iter(pending)

    def invoke(event: object) -> dict[str, int]:
        assert event == {"backfill": True}
        return {"registered": 1, "deregistered": 2, "pending": next(answers)}

    assert backfill(invoke, say=said.append) == left
    assert len(said) == invocations
    assert said[-1] == f"registered 1, deregistered 2, {left} pending"


@pytest.fixture
def server() -> Iterator[DynamoDb]:
    with serve_dynamodb(role="RegisterResourcesRole") as server:
        server.reset()
        yield server


@pytest.mark.stack
def test_backfill_on_this_machine_tells_of_what_waits(server: DynamoDb) -> None:
    """The function itself, in Lambda's runtime, before the tables of the stack that runs here."""
    runs = [World(server.client).create().run for _ in range(1)]
    with serve_authorization() as service:
        service.faults.append(Fails(503))
        with on_this_machine(service.url, aws=server.url) as invoke:
            assert backfill(invoke, say=lambda _: None) == 0
        assert service.graph.tasks == set(runs)


def test_runs_from_before_are_marked_once(world: World) -> None:
    """Those that were never told; neither idempotency records nor what is known, nor twice."""
    store = world.store(registers="off")
    run, _ = store.create_once(CreateRun(), project="apollo", act=world.act(ADA), key="k")
    before = RunKey("apollo", run["id"]["S"])
    gone = store.create(CreateRun(), project="apollo", act=world.act(ADA))
    store.delete("apollo", gone["id"]["S"], act=world.act(ADA))
    known = world.create()
    world.settle(known)
    assert mark_all(world.client, TABLE) == 1
    assert [row.key for row in world.waiting()] == [before]
    assert mark_all(world.client, TABLE) == 0
    world.settle(before)
    assert world.graph.tasks == {before.run, known.run}


def test_deletion_while_registration_was_off_is_told_afterwards(world: World) -> None:
    """The service knew the run, and its end it was not told."""
    run = world.create()
    world.settle(run)
    world.store(registers="off").delete("apollo", run.run, act=world.act(ADA))
    assert world.waiting() == []
    assert mark_all(world.client, TABLE) == 1
    assert world.settle(run) == "deregistered"
    assert not world.graph.tasks
    assert mark_all(world.client, TABLE) == 0
