"""One run and its worker: what is told, what stays marked, and what is remembered as in doubt."""

from collections.abc import Callable
from typing import Any

import pytest

from byline.identity.caller import Caller
from register_resources.claims import KEPT_SECONDS, SETTLE_SECONDS
from register_resources.pending_rows import RunKey
from stand_ins.authorization_service import Fails, Hangs
from tests.register.world import LIFE_SECONDS, Step, World

NIGHTLY = Caller("application", "bearer", "https://issuer.example", "nightly", "nightly", "nightly")


class Died(BaseException):
    """The worker's process is gone."""


def dies_at(step: str) -> Step:
    """Ends a worker at one of its steps."""

    def die(name: str) -> None:
        if name == step:
            raise Died

    return die


def at_once(step: str, act: Callable[[], None]) -> Step:
    """Somebody else acts in between, the first time that the worker is at that step."""
    left = [act]

    def in_between(name: str) -> None:
        if name == step and left:
            left.pop()()

    return in_between


def test_created_run_is_marked_with_its_row(world: World) -> None:
    """A new run has a pending registration from its first write, with the time."""
    key = world.create()
    [waiting] = world.waiting()
    assert waiting.key == key
    assert waiting.since == world.row(key)["created_at"]["S"]
    assert waiting.error == ""


def test_settled_run_is_known_and_marked_no_more(world: World) -> None:
    """A registered run has its creator and parent in the service, and no pending registration."""
    key = world.create(agent="forecaster")
    assert world.settle(key) == "registered"
    assert world.graph.owners == {
        ("task", key.run): {"type": "user", "id": "ada", "issuer": "https://issuer.example"}
    }
    assert world.graph.parents == {("task", key.run): ("agent", "forecaster")}
    row = world.row(key)
    assert not {"unregistered", "unregistered_since", "registration_error"} & row.keys()
    assert row["registered_at"]["S"].endswith("Z")
    assert world.waiting() == []
    assert world.claim(key) is None


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        (NIGHTLY, {"type": "service_account", "id": "nightly", "issuer": "https://issuer.example"}),
        (None, {"type": "anonymous"}),
    ],
)
def test_creator_is_the_principal_whoever_it_is(
    world: World, caller: Caller | None, principal: Any
) -> None:
    """A service account, or nobody where nobody may create runs."""
    key = world.create(by=caller)
    assert world.settle(key) == "registered"
    assert world.graph.owners[("task", key.run)] == principal
    world.delete(key)
    assert world.settle(key) == "deregistered"
    assert world.graph.told[-1].document["principal"] == principal


def test_deleted_run_is_told_as_gone(world: World) -> None:
    """A deleted run's tombstone has a pending registration until it is deregistered."""
    key = world.create()
    world.settle(key)
    world.delete(key)
    assert [row.key for row in world.waiting()] == [key]
    assert world.settle(key) == "deregistered"
    assert not world.graph.tasks
    assert "deregistered_at" in world.row(key)
    assert (world.waiting(), world.claim(key)) == ([], None)


def test_run_that_was_settled_is_not_told_again(world: World) -> None:
    """A record of the stream that comes twice, or late, finds nothing to do."""
    key = world.create()
    assert [world.settle(key) for _ in range(3)] == ["registered", "nothing", "nothing"]
    world.delete(key)
    assert [world.settle(key) for _ in range(2)] == ["deregistered", "nothing"]
    assert [call.operation for call in world.graph.told] == ["register", "deregister"]


def test_late_record_of_a_creation_registers_nothing_that_was_deleted(world: World) -> None:
    """What is told is what the row says now."""
    key = world.create()
    world.delete(key)
    assert world.settle(key) == "deregistered"
    assert [call.operation for call in world.graph.told] == ["deregister"]


def test_run_that_is_nowhere_is_let_be(world: World) -> None:
    """Somebody removed it by hand."""
    assert world.settle(RunKey("apollo", "01M6DMBE000000000000000001")) == "nothing"
    assert not world.graph.told


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_failure_leaves_the_mark_and_its_class(world: World, status: int) -> None:
    """A failed registration stays pending with its error class, in the row and in the index."""
    key = world.create()
    world.faults += [Fails(status)] * 4
    assert world.settle(key) == "failed"
    [waiting] = world.waiting()
    assert waiting.error == world.failures[0][2] == world.row(key)["registration_error"]["S"]
    assert waiting.is_refused == (status != 503)
    world.faults.clear()
    assert world.settle(key) == "registered"
    assert "registration_error" not in world.row(key)


def test_deletion_forgets_why_registering_failed(world: World) -> None:
    """Otherwise its end would count as refused too, and nobody would tell it."""
    key = world.create()
    world.faults.append(Fails(403))
    world.settle(key)
    world.delete(key)
    [waiting] = world.waiting()
    assert not waiting.is_refused


def test_run_that_is_deleted_while_it_is_registered_is_deregistered_at_once(world: World) -> None:
    """The worker looks again before it leaves."""
    key = world.create()
    world.settle(key, step=at_once("post answered", lambda: world.delete(key)))
    assert [call.operation for call in world.graph.told] == ["register", "deregister"]
    assert (world.graph.tasks, world.waiting()) == (set(), [])


def test_run_that_is_deleted_while_registering_fails_is_deregistered_at_once(world: World) -> None:
    """The same after a failure: the error is no longer about anything that is there."""
    key = world.create()
    world.faults.append(Fails(403))
    world.settle(key, step=at_once("post answered", lambda: world.delete(key)))
    assert [call.operation for call in world.graph.told] == ["register", "deregister"]
    assert "registration_error" not in world.row(key)


def test_change_of_a_run_does_not_disturb(world: World) -> None:
    """Registering touches no attribute that a request goes by, and the other way round."""
    key = world.create()
    before = world.row(key)
    world.settle(key)
    after = world.row(key)
    mark = {"unregistered", "unregistered_since"}
    assert {k: v for k, v in before.items() if k not in mark} == {
        k: v for k, v in after.items() if k != "registered_at"
    }


def test_only_one_worker_at_a_time_tells_of_a_run(world: World) -> None:
    """While one has the claim, another leaves the run to it."""
    key = world.create()
    others: list[str] = []
    world.settle(key, step=at_once("post", lambda: others.append(world.settle(key))))
    assert others == ["busy"]
    assert len(world.graph.told) == 1


def test_row_counts_as_it_is_under_the_claim(world: World) -> None:
    """What a worker saw before it had the claim may have been deleted and deregistered since."""
    key = world.create()
    world.settle(key, step=at_once("update_item", lambda: _delete_and_settle(world, key)))
    assert [call.operation for call in world.graph.told] == ["deregister"]
    assert not world.graph.tasks


def test_claim_of_a_dead_worker_ends_when_it_is_certainly_dead(world: World) -> None:
    """Not a second before, and then at once."""
    key = world.create()
    with pytest.raises(Died):
        world.settle(key, step=dies_at("post"))
    world.clock.advance(LIFE_SECONDS - 1)
    assert world.settle(key) == "busy"
    world.clock.advance(1)
    assert world.settle(key) == "registered"


def test_registration_that_timed_out_is_deregistered_until_it_has_settled(world: World) -> None:
    """A register that the service carries out late does not bring back what was deleted."""
    key = world.create()
    world.faults += [Hangs("late"), Fails(403)]
    assert world.settle(key) == "failed"
    world.delete(key)
    assert world.settle(key) == "unsettled"
    world.graph.catch_up()
    assert world.graph.tasks == {key.run}
    world.clock.advance(SETTLE_SECONDS - 1)
    assert world.settle(key) == "unsettled"
    assert not world.graph.tasks
    world.clock.advance(1)
    assert world.settle(key) == "deregistered"
    assert (world.waiting(), world.claim(key)) == ([], None)


def test_success_after_a_timeout_leaves_the_doubt(world: World) -> None:
    """The first attempt may still come into effect after the second, and after the deletion."""
    key = world.create()
    world.faults.append(Hangs("late"))
    assert world.settle(key) == "registered"
    world.delete(key)
    assert world.settle(key) == "unsettled"
    world.graph.catch_up()
    world.clock.advance(SETTLE_SECONDS)
    assert world.settle(key) == "deregistered"
    assert not world.graph.tasks


def test_dead_workers_registration_is_in_doubt(world: World) -> None:
    """It may have been sent at the very end of its claim."""
    key = world.create()
    with pytest.raises(Died):
        world.settle(key, step=dies_at("post answered"))
    world.delete(key)
    world.clock.advance(LIFE_SECONDS)
    assert world.settle(key) == "unsettled"
    world.clock.advance(SETTLE_SECONDS - 1)
    assert world.settle(key) == "unsettled"
    world.clock.advance(1)
    assert world.settle(key) == "deregistered"


def test_second_death_does_not_forget_the_first(world: World) -> None:
    """A doubt that a dead worker had taken over is taken over with its own."""
    key = world.create()
    for step in ("post answered", "get_item"):
        with pytest.raises(Died):
            world.settle(key, step=dies_at(step))
        world.clock.advance(LIFE_SECONDS)
    world.delete(key)
    assert world.settle(key) == "unsettled"


@pytest.mark.parametrize("status", [401, 403])
def test_plain_no_leaves_no_doubt(world: World, status: int) -> None:
    """What was refused is not carried out later."""
    key = world.create()
    world.faults.append(Fails(status))
    world.settle(key)
    assert world.claim(key) is None
    world.delete(key)
    assert world.settle(key) == "deregistered"


def test_deregistration_that_fails_is_tried_again(world: World) -> None:
    """A deletion is not over before the service has said yes."""
    key = world.create()
    world.settle(key)
    world.delete(key)
    world.faults += [Hangs("never"), Fails(403)]
    assert world.settle(key) == "failed"
    assert world.graph.tasks == {key.run}
    assert world.settle(key) == "deregistered"


def test_worker_that_was_overtaken_does_not_say_that_all_is_done(world: World) -> None:
    """Another one may have sent something since."""
    key = world.create()
    world.settle(key)
    world.delete(key)

    def overtake(name: str) -> None:
        if name == "post answered":
            world.client.update_item(
                TableName="RunsTable",
                Key={"project": {"S": "registration#apollo"}, "id": {"S": key.run}},
                UpdateExpression="SET claimed_by = :other",
                ExpressionAttributeValues={":other": {"S": "another"}},
            )

    assert world.settle(key, step=overtake) == "unsettled"
    assert [row.key for row in world.waiting()] == [key]


def test_no_call_begins_that_could_outlast_the_worker(world: World) -> None:
    """Its claim would be another's by then."""
    key = world.create()
    now = world.clock()
    worker = world.worker()
    assert worker.settle(key, until=now + 4.9, claim_until=now + 20) == "unsettled"
    assert not world.graph.told
    assert worker.settle(key, until=now + 5, claim_until=now + 20) == "registered"


def test_claims_go_by_themselves(world: World) -> None:
    """A dead worker's claim, and a doubt, expire after they have lost their meaning."""
    one, other = world.create(), world.create()
    with pytest.raises(Died):
        world.settle(one, step=dies_at("post"))
    world.faults += [Hangs(), Fails(403)]
    world.settle(other)
    now = world.clock()
    ends = {
        key: int(claim["expires_at"]["N"])
        for key in (one, other)
        if (claim := world.claim(key)) is not None
    }
    assert ends == {
        one: int(now) + LIFE_SECONDS + SETTLE_SECONDS + KEPT_SECONDS,
        other: int(now) + SETTLE_SECONDS + KEPT_SECONDS,
    }


def _delete_and_settle(world: World, key: RunKey) -> None:
    world.delete(key)
    assert world.settle(key) == "deregistered"
