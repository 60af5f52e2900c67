"""Grants of service accounts: a revocation is kept and repeated until the service has confirmed."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import Event, Thread

import pytest

from byline.identity.caller import principal_of
from byline.registration.authorization_service import ATTEMPTS
from byline.registration.outbox import SETTLE_SECONDS, SHARDS, revocation_key
from serve_runs.access.control import acts_for_key
from serve_runs.errors import RequestFailed
from serve_runs.service_accounts.grants import REQUEST_SECONDS
from serve_runs.service_accounts.views import listed_key
from stand_ins.authorization_service import Fails, Hangs
from tests.register.world import ADA, LIFE_SECONDS, LIN, ROBOT, RegistrationWorld, Step
from tests.runs.table_server import ACCESS_TABLE


class ProcessDied(BaseException):
    """Ends a request's or a worker's process."""


def dies_at(number: int) -> Step:
    """Ends the process at its step with this number."""
    numbers = count()

    def die(_: str) -> None:
        if next(numbers) == number:
            raise ProcessDied

    return die


def dies(act: Callable[..., object], number: int) -> bool:
    """Whether `act` died at its step with this number. It has no more steps if it did not."""
    try:
        act(step=dies_at(number))
    except ProcessDied:
        return True
    return False


def settle_everything(world: RegistrationWorld) -> None:
    """Let late calls take effect and passes run until every doubt has ended."""
    world.faults.clear()
    world.clock.advance(LIFE_SECONDS)
    world.make_pass()
    world.clock.advance(SETTLE_SECONDS - LIFE_SECONDS)
    world.graph.apply_late_calls()
    for _ in range(4):
        world.make_pass()
        world.clock.advance(SETTLE_SECONDS / 2)


def test_deleted_service_account_is_revoked_by_the_worker(world: RegistrationWorld) -> None:
    """The deletion leaves a pending revocation, which the stream or the next pass settles."""
    world.register_account()
    assert (world.granted_persons, world.pending()) == ({"ada"}, [])
    world.delete_account()
    assert world.make_pass() == ["revoked"]
    assert (world.granted_persons, world.pending()) == (set(), [])
    assert world.make_pass() == []


@pytest.mark.parametrize(
    "faults",
    [
        [Fails(503)] * ATTEMPTS,
        [Fails(504)] * ATTEMPTS,
        [Fails(403)],
        [Hangs("never")] * ATTEMPTS,
        [Fails(200, b'{"succ')],
    ],
)
def test_failed_revocation_is_kept_and_repeated(
    world: RegistrationWorld, faults: list[Fails | Hangs]
) -> None:
    """The row of the service account is gone, and its grant is revoked later all the same."""
    world.register_account()
    world.delete_account()
    world.faults.extend(faults)
    assert world.make_pass() == ["failed"]
    [entry] = world.pending()
    assert entry.key.is_revocation
    assert entry.error
    assert world.granted_persons == {"ada"}
    settle_everything(world)
    assert (world.granted_persons, world.pending()) == (set(), [])


def test_request_that_is_creating_the_grant_is_not_disturbed(world: RegistrationWorld) -> None:
    """The stream announces the intended grant. A worker makes no call and takes no claim."""

    def announce(name: str) -> None:
        if name == "post":
            keys = [row for row in world.all_keys() if row.is_revocation]
            assert [world.settle(key) for key in keys] == ["nothing"]

    world.register_account(step=announce)
    assert [call.operation for call in world.graph.calls] == ["grant"]
    assert world.granted_persons == {"ada"}


def test_request_that_dies_at_any_step_leaves_no_grant_without_a_row(
    world: RegistrationWorld,
) -> None:
    """After a registration or a deletion that died, grants and rows become equal again."""
    for act in (world.register_account, world.delete_account):
        for number in count():
            if act == world.delete_account and not world.accounts_persons:
                world.register_account()
            has_died = dies(act, number)
            world.clock.advance(REQUEST_SECONDS)
            settle_everything(world)
            assert world.granted_persons == world.accounts_persons, (act, number)
            assert world.pending() == []
            if not has_died:
                break
            if act == world.register_account and world.accounts_persons:
                world.delete_account()
                settle_everything(world)
        assert number >= 4


def test_worker_that_dies_at_any_step_revokes_in_the_end(world: RegistrationWorld) -> None:
    """The next worker goes on, after the claim of the dead one has ended."""
    for number in count():
        world.register_account()
        world.delete_account()
        [entry] = world.pending()
        has_died = dies(lambda step, key=entry.key: world.settle(key, step=step), number)
        settle_everything(world)
        assert (world.granted_persons, world.pending()) == (set(), []), number
        if not has_died:
            break
    assert number > 6


def test_late_revocation_does_not_undo_a_new_grant(world: RegistrationWorld) -> None:
    """A revocation timed out and may take effect later. Until then no new grant is created."""
    world.register_account()
    world.delete_account()
    world.faults.extend([Hangs("late"), None])
    assert world.make_pass() == ["unsettled"]
    with pytest.raises(RequestFailed, match="grant_unavailable"):
        world.register_account()
    assert not world.accounts_persons
    settle_everything(world)
    world.register_account()
    settle_everything(world)
    assert world.granted_persons == world.accounts_persons == {"ada"}


def test_worker_that_revokes_keeps_a_new_grant_away(world: RegistrationWorld) -> None:
    """A registration meets the claim of a worker at each of its steps; the two never mix."""
    for number in count():
        world.register_account()
        world.delete_account()
        [entry] = world.pending()
        numbers = count()
        has_met: list[bool] = []

        def meet(
            _: str,
            *,
            numbers: "count[int]" = numbers,
            at: int = number,
            met: list[bool] = has_met,
        ) -> None:
            if next(numbers) == at:
                with suppress(RequestFailed):
                    world.register_account()
                met.append(bool(world.accounts_persons))

        world.settle(entry.key, step=meet)
        settle_everything(world)
        assert world.granted_persons == world.accounts_persons, number
        if not has_met:
            break
        if world.accounts_persons:
            world.delete_account()
            settle_everything(world)
    assert number > 6


def test_worker_that_saw_the_revocation_before_a_new_registration_leaves_its_grant(
    world: RegistrationWorld,
) -> None:
    """A registration began after the worker's look at the row. The worker does not revoke."""
    world.register_account()
    world.delete_account()
    [entry] = world.pending()
    has_looked, may_go_on, has_ended = Event(), Event(), Event()

    def wait(name: str) -> None:
        if name == "get_item answered" and not has_looked.is_set():
            has_looked.set()
            assert may_go_on.wait(10)

    def work() -> None:
        world.settle(entry.key, step=wait)
        has_ended.set()

    def go_on(name: str) -> None:
        if name == "post answered":
            may_go_on.set()
            assert has_ended.wait(10)

    worker = Thread(target=work)
    worker.start()
    assert has_looked.wait(10)
    with suppress(RequestFailed):
        world.register_account(step=go_on)
    may_go_on.set()
    worker.join()
    settle_everything(world)
    assert world.granted_persons == world.accounts_persons == {"ada"}


def test_grant_that_was_certainly_refused_leaves_no_revocation(world: RegistrationWorld) -> None:
    """Otherwise the service would be asked to revoke what it never granted, and refuse that too."""
    world.faults.append(Fails(403))
    with pytest.raises(RequestFailed, match="grant_refused"):
        world.register_account()
    settle_everything(world)
    assert [call.operation for call in world.graph.calls] == ["grant"]


def test_refused_grant_keeps_an_earlier_revocation(world: RegistrationWorld) -> None:
    """The grant of the deleted service account still has to be revoked."""
    world.register_account()
    world.delete_account()
    world.faults.append(Fails(403))
    with pytest.raises(RequestFailed, match="grant_refused"):
        world.register_account()
    assert world.granted_persons == {"ada"}
    settle_everything(world)
    assert (world.granted_persons, world.pending()) == (set(), [])


def test_revocation_for_one_person_leaves_another_persons_grant(world: RegistrationWorld) -> None:
    """Lin registers the service account while Ada's grant is still pending its revocation."""
    world.register_account(person=ADA)
    world.delete_account()
    world.register_account(person=LIN)
    assert world.granted_persons == {"ada", "lin"}
    settle_everything(world)
    assert world.granted_persons == world.accounts_persons == {"lin"}


def test_project_without_registration_has_neither_grant_nor_revocation(
    world: RegistrationWorld,
) -> None:
    """The service is not called for a project that is not registered."""
    world.settings = world.settings_with(REGISTRATION_PROJECTS="gemini")
    world.register_account(project="apollo")
    world.delete_account(project="apollo")
    assert (world.graph.calls, world.pending()) == ([], [])


def test_grant_of_a_project_that_is_switched_off_is_still_revoked(
    world: RegistrationWorld,
) -> None:
    """The service knows the grant, so it learns of its end."""
    world.register_account()
    world.settings = world.settings_with(REGISTRATION_PROJECTS="gemini")
    world.delete_account()
    settle_everything(world)
    assert world.granted_persons == set()


def test_grant_of_an_earlier_version_is_revoked(world: RegistrationWorld) -> None:
    """Its row does not say that it was granted. The deletion revokes the grant all the same."""
    row = world.register_account()
    for key in (acts_for_key(principal_of(ROBOT), "apollo"), listed_key("apollo", row["id"]["S"])):
        world.client.update_item(
            TableName=ACCESS_TABLE, Key=key, UpdateExpression="REMOVE granted_at"
        )
    world.delete_account()
    settle_everything(world)
    assert (world.granted_persons, world.pending()) == (set(), [])


def test_project_that_is_switched_on_grants_at_the_next_registration(
    world: RegistrationWorld,
) -> None:
    """The same registration again grants what the service does not know, and only once."""
    everywhere = world.settings
    world.settings = world.settings_with(REGISTRATION_PROJECTS="gemini")
    world.register_account()
    world.settings = everywhere
    world.register_account()
    world.register_account()
    assert [call.operation for call in world.graph.calls] == ["grant"]
    assert world.granted_persons == {"ada"}


def test_revocation_is_in_a_shard_of_the_index() -> None:
    """A pass reads exactly these shards."""
    for number in range(200):
        key = revocation_key("abc", person=f"user:https://issuer.example#{number}")
        assert key["id"]["S"][-1] in SHARDS


class TestEnds:
    """Grants of registrations that end by themselves."""

    def test_grant_ends_with_its_registration(self, world: RegistrationWorld) -> None:
        """Nobody deletes the registration. The next pass after its end revokes the grant."""
        end = int(world.clock()) + 36_000
        world.register_account(end=end)
        settle_everything(world)
        assert world.granted_persons == {"ada"}
        world.clock.advance(end - world.clock() - 1)
        assert world.make_pass() == []
        world.clock.advance(2)
        assert world.make_pass() == ["revoked"]
        assert (world.granted_persons, world.pending()) == (set(), [])

    @pytest.mark.parametrize("later", [72_000, None])
    def test_end_that_moves_takes_the_grant_along(
        self, world: RegistrationWorld, later: int | None
    ) -> None:
        """The grant lasts until the new end, or for ever, and is not made again."""
        start = int(world.clock())
        world.register_account(end=start + 36_000)
        world.register_account(end=None if later is None else start + later)
        world.clock.advance(40_000)
        assert world.make_pass() == []
        assert world.granted_persons == {"ada"}
        world.clock.advance(40_000)
        assert world.make_pass() == ([] if later is None else ["revoked"])
        assert [call.operation for call in world.graph.calls].count("grant") == 1

    def test_deletion_before_the_end_revokes_at_once(self, world: RegistrationWorld) -> None:
        """The revocation that was to come later is made now."""
        world.register_account(end=int(world.clock()) + 36_000)
        world.delete_account()
        assert world.make_pass() == ["revoked"]
        assert world.granted_persons == set()

    def test_registration_after_the_end_is_granted_again(self, world: RegistrationWorld) -> None:
        """Also before the worker has revoked the grant of the one that ended."""
        world.register_account(end=int(world.clock()) + 36_000)
        world.clock.advance(36_001)
        world.register_account()
        settle_everything(world)
        assert world.granted_persons == {"ada"}

    def test_two_projects_have_a_grant_each(self, world: RegistrationWorld) -> None:
        """The deletion in one project leaves the grant of the other."""
        world.register_account(project="apollo")
        world.register_account(project="gemini")
        assert len(world.graph.grants) == 2
        world.delete_account(project="apollo")
        settle_everything(world)
        assert world.granted_persons == {"ada"}
        assert len(world.graph.grants) == 1

    def test_request_that_dies_leaves_no_grant_after_the_end(
        self, world: RegistrationWorld
    ) -> None:
        """A registration with an end died at any step. At the end there is no grant left."""
        for number in count():
            end = int(world.clock()) + 36_000
            died = dies(lambda step, end=end: world.register_account(step=step, end=end), number)
            world.clock.advance(REQUEST_SECONDS)
            settle_everything(world)
            assert world.granted_persons == world.accounts_persons, number
            world.clock.advance(36_000)
            settle_everything(world)
            assert (world.granted_persons, world.pending()) == (set(), []), number
            if not died:
                break
            for row in world.client.scan(TableName=ACCESS_TABLE)["Items"]:
                if row["entry"]["S"].startswith(("acts-for", "service-account")):
                    key = {name: row[name] for name in ("scope", "entry")}
                    world.client.delete_item(TableName=ACCESS_TABLE, Key=key)
        assert number >= 4
