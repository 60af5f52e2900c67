"""`make backfill`, and the outbox entries of runs from before registration was switched on."""

from collections.abc import Iterator

import pytest

from byline.registration.outbox import ENTRY_ATTRIBUTES
from register_resources.pending import RunKey
from serve_runs.runs.requests import CreateRun
from stand_ins.authorization_service import Fails, serve_authorization
from tests.register.world import ADA, RegistrationWorld
from tests.runs.table_server import TABLE, DynamoDb, serve_dynamodb
from tools.add_outbox_entries import add_outbox_entries
from tools.backfill import add_entries, backfill, on_this_machine


@pytest.mark.parametrize(
    ("pending", "left", "invocations"),
    [([0], 0, 1), ([30, 10, 0], 0, 3), ([5, 5], 5, 2), ([7, 3, 3], 3, 3), ([2, 9], 9, 2)],
)
def test_backfill_is_repeated_while_the_pending_number_falls(
    pending: list[int], left: int, invocations: int
) -> None:
    """It ends when no registration is pending, or when their number does not fall any more."""
    said: list[str] = []
    answers = iter(pending)

    def invoke(event: object) -> dict[str, int]:
        assert event == {"backfill": True}
        return {"registered": 1, "deregistered": 2, "revoked": 3, "pending": next(answers)}

    assert backfill(invoke, say=said.append) == left
    assert len(said) == invocations
    assert said[-1] == f"registered 1, deregistered 2, revoked 3, {left} pending"


@pytest.fixture
def server() -> Iterator[DynamoDb]:
    with serve_dynamodb() as server:
        server.reset()
        yield server


@pytest.mark.stack
def test_backfill_on_this_machine_registers_pending_runs(server: DynamoDb) -> None:
    """The function runs in Lambda's runtime, with the tables of the local stack."""
    run = RegistrationWorld(server.client).create().run
    with serve_authorization() as service:
        service.faults.append(Fails(503))
        with on_this_machine(service.url, aws=server.url) as invoke:
            assert backfill(invoke, say=lambda _: None) == 0
        assert service.graph.tasks == {run}


def test_runs_from_before_registration_get_one_outbox_entry(world: RegistrationWorld) -> None:
    """Idempotency records, registered runs and deleted runs get none. A second time adds none."""
    store = world.store(registers="off")
    run, _ = store.create(CreateRun(), project="apollo", action=world.action(ADA), key="k")
    before = RunKey("apollo", run["id"]["S"])
    gone, _ = store.create(CreateRun(), project="apollo", action=world.action(ADA))
    store.delete("apollo", gone["id"]["S"], action=world.action(ADA))
    known = world.create()
    world.settle(known)
    assert add_outbox_entries(world.client, TABLE) == 1
    assert world.all_keys() == [before]
    assert add_outbox_entries(world.client, TABLE) == 0
    world.settle(before)
    assert world.graph.tasks == {before.run, known.run}


def test_run_deleted_while_registration_was_off_is_deregistered(world: RegistrationWorld) -> None:
    """The tombstone of a registered run gets an outbox entry, if it has none.

    Earlier versions wrote tombstones without entries while registration was off.
    """
    run = world.create()
    world.settle(run)
    world.store(registers="off").delete("apollo", run.run, action=world.action(ADA))
    shard, since = ENTRY_ATTRIBUTES
    world.client.update_item(
        TableName=TABLE,
        Key={"project": {"S": "deleted#apollo"}, "id": {"S": run.run}},
        UpdateExpression=f"REMOVE {shard}, {since}",
    )
    assert world.pending() == []
    assert add_outbox_entries(world.client, TABLE) == 1
    assert world.settle(run) == "deregistered"
    assert not world.graph.tasks
    assert add_outbox_entries(world.client, TABLE) == 0


def test_project_that_is_added_later_gets_the_entries_of_its_runs_only(
    world: RegistrationWorld,
) -> None:
    """`PROJECTS` reads these projects alone, their deleted runs included, and no other row."""
    world.settings = world.settings_with(REGISTRATION_PROJECTS="gemini")
    apollo, zeus = world.create(), world.create(project="zeus")
    world.settings = world.settings_with(REGISTRATION_PROJECTS="gemini,zeus")
    assert add_entries(world.client, TABLE, projects=" zeus,") == 1
    assert world.all_keys() == [zeus]
    assert add_entries(world.client, TABLE, projects="zeus") == 0
    assert add_entries(world.client, TABLE, projects="all") == 1
    assert {*world.all_keys()} == {apollo, zeus}


def test_backfill_without_projects_adds_no_entry(world: RegistrationWorld) -> None:
    """A pass of what is pending reads no other row."""
    world.store(registers="off").create(CreateRun(), project="apollo", action=world.action(ADA))
    assert add_entries(world.client, TABLE, projects="") == 0
    assert world.all_keys() == []


def test_malformed_project_is_refused(world: RegistrationWorld) -> None:
    """The message names the value and the legal name that is nearest."""
    with pytest.raises(ValueError, match=r"has 'Apollo'.*`apollo` would be one"):
        add_entries(world.client, TABLE, projects="Apollo")
