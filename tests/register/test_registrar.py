"""One run and its worker: the calls of the service, the outbox entry and the doubt."""

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import ClientError

from byline.identity.caller import Caller
from byline.registration.outbox import ENTRY_ATTRIBUTES, SETTLE_SECONDS
from byline.tables.rows import WRITE_ATTEMPTS, Contended
from register_resources.attributes import NAMED_ATTRIBUTES
from register_resources.claims import KEPT_SECONDS, RunClaims
from register_resources.pause import ServicePause
from register_resources.pending import RunKey
from serve_runs.runs.requests import CreateRun
from stand_ins.authorization_service import Fails, Hangs
from tests.register.world import ADA, LIFE_SECONDS, ROBOT, RegistrationWorld, Step
from tests.runs.table_server import TABLE

NIGHTLY = Caller("application", "bearer", "https://issuer.example", "nightly", "nightly", "nightly")


class WorkerDied(BaseException):
    """Ends the worker's process."""


def dies_at(step: str) -> Step:
    """Ends a worker at the step `step`."""

    def die(name: str) -> None:
        if name == step:
            raise WorkerDied

    return die


def once_at(step: str, act: Callable[[], None]) -> Step:
    """Calls `act` when the worker is at the step `step` for the first time."""
    left = [act]

    def in_between(name: str) -> None:
        if name == step and left:
            left.pop()()

    return in_between


def refuses(*updates: int, error: ClientError) -> Step:
    """DynamoDB answers these updates of a worker, counted from 1, with `error`."""
    numbers = count(1)

    def refuse(name: str) -> None:
        if name == "update_item" and next(numbers) in updates:
            raise error

    return refuse


def conflict(world: RegistrationWorld) -> ClientError:
    """The answer to an update while a transaction changes the same row."""
    error = {"Error": {"Code": "TransactionConflictException"}}
    refused: ClientError = world.client.exceptions.TransactionConflictException(error, "UpdateItem")
    return refused


def test_created_run_has_an_outbox_entry_in_its_row(world: RegistrationWorld) -> None:
    """A new run has a pending registration from its first write, with the time."""
    key = world.create()
    [entry] = world.pending()
    assert entry.key == key
    assert entry.since == world.row(key)["created_at"]["S"]
    assert entry.error == ""


def test_settled_run_is_registered_and_not_pending(world: RegistrationWorld) -> None:
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
    assert world.pending() == []
    assert world.claim(key) is None


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        (NIGHTLY, {"type": "service_account", "id": "nightly", "issuer": "https://issuer.example"}),
        (None, {"type": "anonymous"}),
    ],
)
def test_service_account_or_anonymous_creator_is_the_principal(
    world: RegistrationWorld, caller: Caller | None, principal: Any
) -> None:
    """The service gets a service account, or no principal for an anonymous caller."""
    key = world.create(by=caller)
    assert world.settle(key) == "registered"
    assert world.graph.owners[("task", key.run)] == principal
    world.delete(key)
    assert world.settle(key) == "deregistered"
    assert world.graph.calls[-1].document["principal"] == principal


def test_deleted_run_is_deregistered(world: RegistrationWorld) -> None:
    """A deleted run's tombstone has a pending registration until it is deregistered."""
    key = world.create()
    world.settle(key)
    world.delete(key)
    assert [row.key for row in world.pending()] == [key]
    assert world.settle(key) == "deregistered"
    assert not world.graph.tasks
    assert "deregistered_at" in world.row(key)
    assert (world.pending(), world.claim(key)) == ([], None)


def test_tombstone_expires_only_after_its_deregistration(world: RegistrationWorld) -> None:
    """Retention must not delete the outbox entry before the service knows of the deletion."""
    run = world.create()
    world.settle(run)
    world.delete(run)
    keys = {"project": {"S": "deleted#apollo"}, "id": {"S": run.run}}
    world.client.update_item(
        TableName=TABLE,
        Key=keys,
        UpdateExpression="SET kept_until = :until",
        ExpressionAttributeValues={":until": {"N": "4000000000"}},
    )
    world.faults.append(Fails(403))
    assert world.settle(run) == "failed"
    assert "expires_at" not in world.row(run)
    assert world.settle(run) == "deregistered"
    assert world.row(run)["expires_at"] == {"N": "4000000000"}


def test_repeated_record_of_a_settled_run_makes_no_call(world: RegistrationWorld) -> None:
    """A record of the stream that is delivered twice, or late, has no effect."""
    key = world.create()
    assert [world.settle(key) for _ in range(3)] == ["registered", "nothing", "nothing"]
    world.delete(key)
    assert [world.settle(key) for _ in range(2)] == ["deregistered", "nothing"]
    assert [call.operation for call in world.graph.calls] == ["register", "deregister"]


def test_late_record_of_a_creation_does_not_register_a_deleted_run(
    world: RegistrationWorld,
) -> None:
    """The row as it is now decides, not the record."""
    key = world.create()
    world.delete(key)
    assert world.settle(key) == "deregistered"
    assert [call.operation for call in world.graph.calls] == ["deregister"]


def test_run_without_a_row_makes_no_call(world: RegistrationWorld) -> None:
    """An operator may have removed the row by hand."""
    assert world.settle(RunKey("apollo", "01M6DMBE000000000000000001")) == "nothing"
    assert not world.graph.calls


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_failure_keeps_the_outbox_entry_and_notes_its_class(
    world: RegistrationWorld, status: int
) -> None:
    """A failed registration stays pending with its error class, in the row and in the index."""
    key = world.create()
    world.faults += [Fails(status)] * 4
    assert world.settle(key) == "failed"
    [entry] = world.pending()
    assert entry.error == world.failures[0][2] == world.row(key)["registration_error"]["S"]
    assert entry.is_refused == (status < 429)
    world.faults.clear()
    assert world.settle(key) == "registered"
    assert "registration_error" not in world.row(key)


def test_deletion_clears_the_error_of_the_registration(world: RegistrationWorld) -> None:
    """Otherwise the deregistration would count as refused, and no pass would try it."""
    key = world.create()
    world.faults.append(Fails(403))
    world.settle(key)
    world.delete(key)
    [entry] = world.pending()
    assert not entry.is_refused


def test_run_deleted_during_its_registration_is_deregistered_at_once(
    world: RegistrationWorld,
) -> None:
    """The same worker reads the row again and deregisters the run."""
    key = world.create()
    world.settle(key, step=once_at("post answered", lambda: world.delete(key)))
    assert [call.operation for call in world.graph.calls] == ["register", "deregister"]
    assert (world.graph.tasks, world.pending()) == (set(), [])


def test_run_deleted_during_a_failed_registration_is_deregistered_at_once(
    world: RegistrationWorld,
) -> None:
    """The tombstone does not get the error of the registration."""
    key = world.create()
    world.faults.append(Fails(403))
    world.settle(key, step=once_at("post answered", lambda: world.delete(key)))
    assert [call.operation for call in world.graph.calls] == ["register", "deregister"]
    assert "registration_error" not in world.row(key)


def test_registration_changes_only_its_own_attributes(world: RegistrationWorld) -> None:
    """All attributes that requests read are as before."""
    key = world.create()
    before = world.row(key)
    world.settle(key)
    after = world.row(key)
    entry = {"unregistered", "unregistered_since"}
    assert {k: v for k, v in before.items() if k not in entry} == {
        k: v for k, v in after.items() if k != "registered_at"
    }


def test_second_worker_finds_the_run_busy(world: RegistrationWorld) -> None:
    """While one worker has the claim, another one makes no call."""
    key = world.create()
    others: list[str] = []
    world.settle(key, step=once_at("post", lambda: others.append(world.settle(key))))
    assert others == ["busy"]
    assert len(world.graph.calls) == 1


def test_row_is_read_after_the_claim_is_taken(world: RegistrationWorld) -> None:
    """A run that was deleted and deregistered before the claim is not registered."""
    key = world.create()
    world.settle(key, step=once_at("update_item", lambda: _delete_and_settle(world, key)))
    assert [call.operation for call in world.graph.calls] == ["deregister"]
    assert not world.graph.tasks


def test_claim_of_a_dead_worker_ends_at_its_time(world: RegistrationWorld) -> None:
    """A second before, the run is busy; at its time, another worker takes it."""
    key = world.create()
    with pytest.raises(WorkerDied):
        world.settle(key, step=dies_at("post"))
    world.clock.advance(LIFE_SECONDS - 1)
    assert world.settle(key) == "busy"
    world.clock.advance(1)
    assert world.settle(key) == "registered"


def test_deletion_after_a_timed_out_registration_is_repeated_until_the_doubt_ends(
    world: RegistrationWorld,
) -> None:
    """A registration that the service carries out late does not bring a deleted run back."""
    key = world.create()
    world.faults += [Hangs("late"), Fails(403)]
    assert world.settle(key) == "failed"
    world.delete(key)
    assert world.settle(key) == "unsettled"
    world.graph.apply_late_calls()
    assert world.graph.tasks == {key.run}
    world.clock.advance(SETTLE_SECONDS - 1)
    assert world.settle(key) == "unsettled"
    assert not world.graph.tasks
    world.clock.advance(1)
    assert world.settle(key) == "deregistered"
    assert (world.pending(), world.claim(key)) == ([], None)


def test_success_after_a_timeout_leaves_a_doubt(world: RegistrationWorld) -> None:
    """The first attempt may still take effect after the second one, and after the deletion."""
    key = world.create()
    world.faults.append(Hangs("late"))
    assert world.settle(key) == "registered"
    world.delete(key)
    assert world.settle(key) == "unsettled"
    world.graph.apply_late_calls()
    world.clock.advance(SETTLE_SECONDS)
    assert world.settle(key) == "deregistered"
    assert not world.graph.tasks


def test_registration_of_a_dead_worker_is_in_doubt(world: RegistrationWorld) -> None:
    """The worker may have sent it at the end of its claim."""
    key = world.create()
    with pytest.raises(WorkerDied):
        world.settle(key, step=dies_at("post answered"))
    world.delete(key)
    world.clock.advance(LIFE_SECONDS)
    assert world.settle(key) == "unsettled"
    world.clock.advance(SETTLE_SECONDS - 1)
    assert world.settle(key) == "unsettled"
    world.clock.advance(1)
    assert world.settle(key) == "deregistered"


def test_second_dead_worker_keeps_the_doubt_of_the_first(world: RegistrationWorld) -> None:
    """The next worker gets the doubts of both."""
    key = world.create()
    for step in ("post answered", "get_item"):
        with pytest.raises(WorkerDied):
            world.settle(key, step=dies_at(step))
        world.clock.advance(LIFE_SECONDS)
    world.delete(key)
    assert world.settle(key) == "unsettled"


@pytest.mark.parametrize("status", [401, 403])
def test_refused_registration_leaves_no_doubt(world: RegistrationWorld, status: int) -> None:
    """A call that the service refused does not take effect later."""
    key = world.create()
    world.faults.append(Fails(status))
    world.settle(key)
    assert world.claim(key) is None
    world.delete(key)
    assert world.settle(key) == "deregistered"


def test_deregistration_that_fails_is_tried_again(world: RegistrationWorld) -> None:
    """A deletion stays pending until the service has answered with success."""
    key = world.create()
    world.settle(key)
    world.delete(key)
    world.faults += [Hangs("never"), Fails(403)]
    assert world.settle(key) == "failed"
    assert world.graph.tasks == {key.run}
    assert world.settle(key) == "deregistered"


def test_worker_that_lost_its_claim_does_not_finish_a_deletion(world: RegistrationWorld) -> None:
    """The other worker may have sent a registration since."""
    key = world.create()
    world.settle(key)
    world.delete(key)

    def lose_claim(name: str) -> None:
        if name == "post answered":
            world.client.update_item(
                TableName="RunsTable",
                Key={"project": {"S": "registration#apollo"}, "id": {"S": key.run}},
                UpdateExpression="SET claimed_by = :other",
                ExpressionAttributeValues={":other": {"S": "another"}},
            )

    assert world.settle(key, step=lose_claim) == "unsettled"
    assert [row.key for row in world.pending()] == [key]


def test_start_of_a_run_during_its_registration_is_waited_for(world: RegistrationWorld) -> None:
    """A conflict with a change of the run is retried, without another call of the service."""
    key = world.create()
    assert world.settle(key, step=refuses(2, error=conflict(world))) == "registered"
    assert len(world.graph.calls) == 1
    assert world.pending() == []


def test_worker_that_gives_up_on_a_conflict_gives_its_claim_back(world: RegistrationWorld) -> None:
    """The next worker registers the run at once, and a deletion does not wait either."""
    key = world.create()
    attempts = range(2, 2 + WRITE_ATTEMPTS)
    with pytest.raises(Contended):
        world.settle(key, step=refuses(*attempts, error=conflict(world)))
    assert world.settle(key) == "registered"
    world.delete(key)
    assert world.settle(key) == "deregistered"


def test_worker_that_fails_at_the_table_hands_on_its_doubt(world: RegistrationWorld) -> None:
    """A registration that timed out stays in doubt when the next write to the table fails."""
    key = world.create()
    world.faults += [Hangs("late"), Fails(403)]
    error = ClientError({"Error": {"Code": "InternalServerError"}}, "UpdateItem")
    with pytest.raises(ClientError):
        world.settle(key, step=refuses(2, error=error))
    world.delete(key)
    assert world.settle(key) == "unsettled"
    world.graph.apply_late_calls()
    world.clock.advance(SETTLE_SECONDS)
    assert world.settle(key) == "deregistered"
    assert not world.graph.tasks


def test_conflict_at_the_claim_is_retried(world: RegistrationWorld) -> None:
    """The worker takes the claim after another worker has finished with it."""
    key = world.create()
    assert world.settle(key, step=refuses(1, error=conflict(world))) == "registered"


def test_claim_whose_answer_was_lost_is_not_busy_for_its_holder(world: RegistrationWorld) -> None:
    """A call that botocore repeats takes the claim, and other workers find it busy."""
    key = world.create()
    now = world.clock()
    claims = RunClaims(world.client, TABLE, owner="me")
    for _ in range(2):
        assert claims.take(key, now=now, until=now + LIFE_SECONDS)
    others = RunClaims(world.client, TABLE, owner="another")
    assert others.take(key, now=now, until=now + LIFE_SECONDS) is None


def test_claim_whose_answer_was_lost_has_the_doubt_of_a_dead_worker(
    world: RegistrationWorld,
) -> None:
    """The lost answer named the claim before, so a dead worker is assumed."""
    key = world.create()
    with pytest.raises(WorkerDied):
        world.settle(key, step=dies_at("post answered"))
    world.clock.advance(LIFE_SECONDS)
    now = world.clock()
    claims = RunClaims(world.client, TABLE, owner="me")
    claims.take(key, now=now, until=now + LIFE_SECONDS)
    claim = claims.take(key, now=now, until=now + LIFE_SECONDS)
    assert claim is not None
    assert claim.doubt_until == now + SETTLE_SECONDS


def test_doubt_that_ends_during_a_deregistration_repeats_it(world: RegistrationWorld) -> None:
    """A late registration may have taken effect after the deregistration, before its answer."""
    key = world.create()
    world.faults += [Hangs("late"), Fails(403)]
    world.settle(key)
    world.delete(key)
    world.clock.advance(SETTLE_SECONDS - 1)

    def answers_slowly(name: str) -> None:
        if name == "post answered":
            world.graph.apply_late_calls()
            world.clock.advance(2)

    assert world.settle(key, step=answers_slowly) == "unsettled"
    assert world.settle(key) == "deregistered"
    assert not world.graph.tasks


def test_no_call_begins_that_could_outlast_its_worker(world: RegistrationWorld) -> None:
    """Another worker could have the claim before the call ends."""
    key = world.create()
    now = world.clock()
    worker = world.worker()
    assert worker.settle(key, until=now + 4.9, claim_until=now + 20) == "unsettled"
    assert not world.graph.calls
    assert worker.settle(key, until=now + 5, claim_until=now + 20) == "registered"


def test_claims_expire(world: RegistrationWorld) -> None:
    """The rows of a dead worker's claim and of a doubt expire a day after the doubt has ended."""
    one, other = world.create(), world.create()
    with pytest.raises(WorkerDied):
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


def _delete_and_settle(world: RegistrationWorld, key: RunKey) -> None:
    world.delete(key)
    assert world.settle(key) == "deregistered"


def test_known_run_that_is_deleted_while_registration_is_off_is_deregistered(
    world: RegistrationWorld,
) -> None:
    """Its tombstone is pending until registration is on again. An unknown run's is not."""
    known, unknown = world.create(), world.create()
    assert world.settle(known) == "registered"
    off = world.store(registers="off")
    other = off.create(CreateRun(), project="apollo", action=world.action(ADA))[0]["id"]["S"]
    for run in (known.run, other):
        off.delete("apollo", run, action=world.action(ADA))
    assert {key.run for key in world.all_keys()} == {known.run, unknown.run}
    assert world.settle(known) == "deregistered"
    assert known.run not in str(world.graph.tasks)


def test_person_is_granted_the_run_of_its_service_account(world: RegistrationWorld) -> None:
    """The service account owns the run, and the person that it acts for may read it."""
    key = world.create(by=ROBOT, person=ADA)
    assert world.settle(key) == "registered"
    register, grant = world.graph.calls
    assert register.document["principal"]["id"] == "robot"
    assert (grant.operation, grant.resource) == ("grant", ("task", key.run))
    assert grant.document["principal"] == {
        "type": "user",
        "id": "ada",
        "issuer": "https://issuer.example",
    }
    assert grant.document["operation"] == "read"
    world.delete(key)
    assert world.settle(key) == "deregistered"
    assert (world.graph.tasks, world.graph.grants) == (set(), set())
    assert world.graph.calls[-1].document["principal"]["id"] == "robot"


def test_person_that_a_child_run_inherited_is_granted_nothing(world: RegistrationWorld) -> None:
    """A person that came from the parent run is no right: it may have lost every role since."""
    key = world.create(by=ROBOT, person=ADA, inherited="from the parent run")
    assert world.settle(key) == "registered"
    assert "registered_at" in world.row(key)
    assert world.graph.grants == set()


def test_run_is_pending_until_its_person_knows_it(world: RegistrationWorld) -> None:
    """The registration succeeded and the grant failed: the next worker repeats both."""
    key = world.create(by=ROBOT, person=ADA)
    world.faults += [None, Fails(403)]
    assert world.settle(key) == "failed"
    assert world.failures == [(key.run, "grant", "forbidden")]
    assert [entry.error for entry in world.pending()] == ["forbidden"]
    assert world.settle(key) == "registered"
    assert len(world.graph.grants) == 1
    assert len(world.graph.owners) == 1


@pytest.mark.parametrize("takes_effect", ["at once", "late", "never"])
def test_late_grant_of_a_person_does_not_outlive_the_run(
    world: RegistrationWorld, takes_effect: str
) -> None:
    """A grant without an answer leaves a doubt, so the deregistration is repeated after it."""
    key = world.create(by=ROBOT, person=ADA)
    world.faults += [None, *[Hangs(takes_effect)] * 4]
    assert world.settle(key) == "failed"
    world.delete(key)
    assert world.settle(key) == "unsettled"
    world.graph.apply_late_calls()
    world.clock.advance(SETTLE_SECONDS)
    assert world.settle(key) == "deregistered"
    assert (world.graph.tasks, world.graph.grants) == (set(), set())


@pytest.mark.parametrize("step", range(20))
def test_worker_that_dies_while_it_tells_the_person_is_repeated(
    world: RegistrationWorld, step: int
) -> None:
    """A worker dies at one of its steps. Run and person are known in the end, once."""
    key = world.create(by=ROBOT, person=ADA)
    numbers = count()

    def die(_: str) -> None:
        if next(numbers) == step:
            raise WorkerDied

    with suppress(WorkerDied):
        world.settle(key, step=die)
    world.clock.advance(LIFE_SECONDS)
    world.make_pass()
    assert world.pending() == []
    assert (world.graph.tasks, len(world.graph.grants)) == ({key.run}, 1)


FLAT = {"user_id": None, "service_account_id": None, "account_id": "acct-1"}


@pytest.mark.parametrize(
    ("by", "principal"),
    [
        (ADA, {**FLAT, "user_id": "ada"}),
        (ROBOT, {**FLAT, "service_account_id": "robot"}),
        (None, FLAT),
    ],
)
def test_flat_principal_has_the_members_of_agentexs_context(
    world: RegistrationWorld, by: Caller | None, principal: dict[str, str | None]
) -> None:
    """With `RegistrationPrincipal` = `flat`, both calls have user, service account and account."""
    world.settings = world.settings_with(
        REGISTRATION_PRINCIPAL="flat", REGISTRATION_ACCOUNT_ID=" acct-1 "
    )
    key = world.create(by=by)
    world.settle(key)
    world.delete(key)
    world.settle(key)
    assert [call.document["principal"] for call in world.graph.calls] == [principal] * 2


def test_flat_principal_without_an_account_has_a_null(world: RegistrationWorld) -> None:
    """The member is there all the same."""
    world.settings = world.settings_with(REGISTRATION_PRINCIPAL="flat")
    world.settle(world.create())
    [call] = world.graph.calls
    assert call.document["principal"]["account_id"] is None


def test_run_of_another_project_has_no_outbox_entry(world: RegistrationWorld) -> None:
    """It costs nothing: it is in neither the index nor the stream, alive or deleted."""
    world.settings = world.settings_with(REGISTRATION_PROJECTS="gemini,zeus")
    run = world.create()
    assert not {*ENTRY_ATTRIBUTES} & world.row(run).keys()
    world.delete(run)
    assert not {*ENTRY_ATTRIBUTES} & world.row(run).keys()
    other = world.create(project="zeus")
    assert [entry.key for entry in world.pending()] == [other]


def test_known_run_of_a_project_that_is_switched_off_is_deregistered(
    world: RegistrationWorld,
) -> None:
    """The service knows the run, or may know it, so it learns of its end."""
    known, pending = world.create(), world.create()
    world.settle(known)
    world.settings = world.settings_with(REGISTRATION_PROJECTS="gemini")
    for run in (known, pending):
        world.delete(run)
    assert set(world.make_pass()) == {"deregistered"}
    assert {call.resource[1] for call in world.graph.calls[1:]} == {known.run, pending.run}
    assert (world.graph.tasks, world.pending()) == (set(), [])


def test_pending_run_of_a_project_that_is_switched_off_is_still_registered(
    world: RegistrationWorld,
) -> None:
    """It was created while its project was on, and its deletion will be told too."""
    run = world.create()
    world.settings = world.settings_with(REGISTRATION_PROJECTS="gemini")
    assert world.make_pass() == ["registered"]
    assert world.graph.tasks == {run.run}


def test_registration_names_only_its_own_attributes(world: RegistrationWorld) -> None:
    """A policy can limit the function to these attributes of the table."""
    named: set[str] = set()

    class Recording:
        """A client that records the attributes that each call names."""

        def __getattr__(self, operation: str) -> Any:
            member = getattr(world.client, operation)
            if operation not in ("get_item", "update_item", "delete_item", "transact_write_items"):
                return member

            def call(**what: Any) -> Any:
                for action in what.get("TransactItems", [{"": what}]):
                    [request] = action.values()
                    named.update(_attributes_in(request))
                return member(**what)

            return call

    client: Any = Recording()
    keys = [world.create(by=ROBOT, person=ADA), world.create()]
    world.register_account()
    world.delete_account()
    for faults in ([Hangs("never")] * 30, []):
        world.faults[:] = faults
        for entry in world.pending():
            world.settle_with(client, entry.key)
        world.clock.advance(2 * SETTLE_SECONDS)
    world.delete(keys[0])
    for _ in range(2):
        world.settle_with(client, keys[0])
    pause = ServicePause(client, TABLE)
    service = world.service()
    with pause.kept_for(service, now=world.clock):
        service.paused_until = world.clock() + 60
    assert named == NAMED_ATTRIBUTES


def _attributes_in(request: dict[str, Any]) -> set[str]:
    expressions = " ".join(
        str(value) for name, value in request.items() if name.endswith("Expression")
    )
    words = set(re.findall(r"(?<![:\w])#?[a-z_]+", expressions))
    names = request.get("ExpressionAttributeNames", {})
    functions = {"attribute_exists", "attribute_not_exists"}
    named = {names.get(word, word) for word in words - functions}
    return named | set(request["Key"])
