"""One worker and one work unit: tokens, clients and secrets after each kind of refresh."""

from collections.abc import Iterator
from copy import replace
from socket import socket
from threading import Barrier, Event
from typing import Any

import pytest

from byline.refresh.timing import LEASE_SECONDS, due_window
from byline.refresh.token_rows import RETIRED_LIFETIME_SECONDS, TokenRow, client_key
from refresh_tokens.retries import NEW_SECRET_SECONDS
from refresh_tokens.token_table import COMMITS_A_CALL
from stand_ins.faults import Meanwhile
from stand_ins.refusal import ACCESS_DENIED
from tests.identity.loopback import answer
from tests.refresh.world import TABLE, World, new_world


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


def test_new_token_is_minted_and_is_due_within_its_window(world: World) -> None:
    """A registered runner's token lives after one time slice, and is due by its lifetime."""
    row = world.register("nightly")
    worker = world.worker()
    assert worker.refresh(row.work_unit) == "done"
    after = world.row("nightly")
    assert after is not None
    assert after.due_at is not None
    assert after.issued_at is not None
    window = due_window(900)
    assert window.first <= after.due_at - after.issued_at <= window.last
    token = world.token(after)
    assert token.keys() == {"token", "token_type", "issued_at", "expires_at", "generation"}
    assert token["generation"] == after.generation == row.generation + 1
    assert (after.expires_at, after.deadline) == (after.issued_at + 900,) * 2
    assert worker.refreshed == ["scheduler"]


def test_runners_that_ask_for_the_same_share_one_token(world: World) -> None:
    """The issuer is asked once and one secret is written, however many runners point to it."""
    rows = [world.register(f"runner-{number}") for number in range(30)]
    assert {row.id for row in rows} == {rows[0].id}
    assert world.worker().refresh(rows[0].work_unit) == "done"
    assert world.mints() == world.aws.count("CreateSecret") == 1
    after = world.row("runner-7")
    assert after is not None
    assert (after.generation, after.runners) == (1, 30)


def test_tokens_of_a_client_are_minted_side_by_side(world: World) -> None:
    """After a client's first token, its others do not wait for one another at the issuer."""
    rows = [world.register(f"runner-{number}", isolated=True) for number in range(4)]
    others = Barrier(3, timeout=10)
    grant = answer(b'{"access_token": "t", "token_type": "Bearer", "expires_in": 900}')

    def respond(connection: socket, over: Event) -> None:
        if world.mints() > 1:
            others.wait()
        grant(connection, over)

    world.issuer.respond["/token"] = respond
    worker = world.worker()
    assert worker.refresh(rows[0].work_unit) == "done"
    assert (len(worker.refreshed), worker.failed, world.mints()) == (4, [], 4)


def test_client_is_read_once_for_the_tokens_of_a_time_slice(world: World) -> None:
    """Its secret and its state are read for the first token, and the others need neither."""
    rows = [world.register(f"runner-{number}", isolated=True) for number in range(30)]
    assert world.worker().refresh(rows[0].work_unit) == "done"
    assert world.mints() == world.aws.count("CreateSecret") == 30
    assert world.aws.count("GetSecretValue") == 1


def test_isolated_runner_has_a_token_of_its_own(world: World) -> None:
    """Its own mint and its own secret, although it asks for the same."""
    shared, own = world.register("shared"), world.register("own", isolated=True)
    assert world.worker().refresh(shared.work_unit) == "done"
    assert world.mints() == world.aws.count("CreateSecret") == 2
    tokens = [world.row(runner) for runner in ("shared", "own")]
    assert {world.token(row)["token"] for row in tokens if row} == set(world.issuer.issued)
    assert own.isolated_for == "own"


def test_registration_during_a_refresh_is_counted(world: World) -> None:
    """The commit changes what the refresher has decided, and not the number of runners."""
    row = world.register("first")
    world.aws.faults.follow("CreateSecret", Meanwhile(lambda: world.register("second")))
    worker = world.worker()
    assert worker.refresh(row.work_unit) == "done"
    after = world.row("second")
    assert after is not None
    assert (after.id, after.generation, after.runners) == (row.id, 1, 2)
    assert world.mints() == 1


def test_refreshes_use_the_slots_in_turn(world: World) -> None:
    """A token of 900 seconds is written to two secrets in turn."""
    row = world.register("nightly")
    worker = world.worker()
    slots: list[int] = []
    for _ in range(4):
        worker.refresh(row.work_unit)
        after = world.row("nightly")
        assert after is not None
        assert after.due_at is not None
        assert after.slot is not None
        slots.append(after.slot)
        world.clock.advance(after.due_at - world.clock())
    assert sorted(slots[:2]) == [0, 1]
    assert slots[:2] == slots[2:]
    assert world.mints() == 4


def test_most_urgent_token_comes_first(world: World) -> None:
    """The token that expires first is written first, whatever was due first."""
    now = int(world.clock())
    for name, deadline in (("later", now + 300), ("urgent", now + 10), ("soon", now + 100)):
        world.put(replace(world.register(name, isolated=True), deadline=deadline))
    row = world.row("later")
    assert row is not None
    worker = world.worker()
    worker.refresh(row.work_unit)
    assert worker.refreshed == ["urgent", "soon", "later"]


def test_refused_client_is_not_asked_until_its_secret_changes(world: World) -> None:
    """A secret that worked is refused once; another version closes the breaker."""
    row = world.register("nightly")
    worker = world.worker()
    worker.refresh(row.work_unit)
    world.clock.advance(NEW_SECRET_SECONDS)
    world.issuer.respond["/token"] = UNKNOWN_CLIENT
    asked = world.mints()
    for _ in range(4):
        worker.refresh(row.work_unit)
        world.clock.advance(300)
    assert worker.failed_mints == ["invalid_client"]
    assert world.mints() == asked + 1
    broken = world.row("nightly")
    assert broken is not None
    assert broken.last_error is not None
    assert broken.last_error.error_class == "invalid_client"
    del world.issuer.respond["/token"]
    world.give_client()
    world.clock.advance(300)
    worker.refresh(row.work_unit)
    mended = world.row("nightly")
    assert mended is not None
    assert mended.last_error is None
    assert world.token(mended)["token"]


UNKNOWN_CLIENT = answer(b'{"error": "invalid_client"}', status="401 Unauthorized")


def test_new_secret_that_the_issuer_learns_late_gets_a_token_within_two_minutes(
    world: World,
) -> None:
    """Some of the issuer's servers know it seconds after others."""
    row = world.register("nightly")
    worker = world.worker()
    world.issuer.respond["/token"] = UNKNOWN_CLIENT
    began = world.clock()
    while worker.refreshed == []:
        worker.refresh(row.work_unit)
        world.clock.advance(5)
        if world.clock() >= began + 45:
            world.issuer.respond.clear()
    assert world.clock() < began + 120
    assert worker.failed_mints == ["invalid_client"] * 3
    asked = world.mints()
    world.clock.advance(600)
    worker.refresh(row.work_unit)
    assert world.mints() == asked + 1


def test_new_secret_that_stays_wrong_is_tried_four_times_for_all_tokens(world: World) -> None:
    """Then the breaker opens for an hour, and the next refusal opens it at once."""
    world.give_client(client_secret="wr0ng-secret")
    rows = [world.register("first"), world.register("second", audience="other")]
    worker = world.worker()
    asked: list[int] = []
    began = int(world.clock())
    while world.clock() < began + 2 * 3_600:
        for row in rows:
            worker.refresh(row.work_unit)
        if len(asked) < world.mints():
            asked += [int(world.clock()) - began] * (world.mints() - len(asked))
        world.clock.advance(10 if world.clock() < began + 300 else 60)
    assert asked[:4] == [0, 10, 40, 100]
    assert len(asked) == 5
    assert 3_600 <= asked[4] - asked[3] <= 3_900


def test_client_row_that_cannot_be_read_is_written_anew(world: World) -> None:
    """Otherwise no later failure of the client would be remembered."""
    key = client_key("payments", "scheduler")
    world.dynamodb.put_item(TableName=TABLE, Item=key | {"since": {"S": "soon"}})
    row = world.register("nightly")
    world.worker().refresh(row.work_unit)
    item = world.dynamodb.get_item(TableName=TABLE, Key=key)["Item"]
    assert item["worked_version"]["S"]
    assert int(item["ttl"]["N"]) > world.clock() + 86_400


def test_refused_client_delays_no_other_project(world: World) -> None:
    """Only its own tokens wait."""
    world.give_client(project="broken", client_secret="wr0ng-secret")
    broken = world.register("nightly", project="broken")
    well = world.register("nightly")
    worker = world.worker()
    worker.refresh(broken.work_unit)
    worker.refresh(well.work_unit)
    after = world.row("nightly")
    assert after is not None
    assert world.token(after)["token"]


def test_retry_after_holds_for_all_tokens_of_the_client(world: World) -> None:
    """No other token of the client is asked for before that time."""
    world.issuer.respond["/token"] = too_many_requests
    first, second = world.register("first"), world.register("second", audience="other")
    worker = world.worker()
    worker.refresh(first.work_unit)
    asked = world.mints()
    worker.refresh(second.work_unit)
    assert world.mints() == asked == 1
    waiting = world.row("second")
    assert waiting is not None
    assert waiting.try_at is not None
    assert waiting.try_at >= world.clock() + 40


ASKS_FOR_A_DAY = answer(status="429 Slow down", headers="Retry-After: 86400\r\n")


def test_retry_after_of_a_day_costs_no_token_of_the_client_its_life(world: World) -> None:
    """A token meets it, the issuer is well at once, and another token falls due."""
    other = world.register("other")
    worker = world.worker()
    worker.refresh(other.work_unit)
    long_lived = world.register("long-lived", audience="other")
    world.issuer.respond["/token"] = ASKS_FOR_A_DAY
    world.clock.advance(500)
    worker.refresh(long_lived.work_unit)
    assert worker.failed_mints == ["rate_limited"]
    del world.issuer.respond["/token"]
    asked, first = world.mints(), world.row("other")
    assert first is not None
    row = first
    while row.generation == first.generation:
        assert row.due_at is not None
        assert row.expires_at is not None
        assert row.due_at < row.expires_at - 30
        world.clock.advance(max(1, row.due_at - int(world.clock())))
        worker.refresh(other.work_unit)
        found = world.row("other")
        assert found is not None
        row = found
    assert world.mints() == asked + 1
    assert world.token(row)["generation"] == row.generation


def test_retry_after_of_a_day_ends_with_another_version_of_the_secret(world: World) -> None:
    """The next look at the secret finds the version and asks the issuer."""
    row = world.register("nightly")
    world.issuer.respond["/token"] = ASKS_FOR_A_DAY
    worker = world.worker()
    worker.refresh(row.work_unit)
    del world.issuer.respond["/token"]
    world.clock.advance(300)
    worker.refresh(row.work_unit)
    assert world.mints() == 1
    world.give_client()
    world.clock.advance(300)
    worker.refresh(row.work_unit)
    assert worker.refreshed == ["scheduler"]


def test_retry_after_of_a_day_ends_after_a_quarter_of_an_hour(world: World) -> None:
    """Without any change, too."""
    row = world.register("nightly")
    world.issuer.respond["/token"] = ASKS_FOR_A_DAY
    worker = world.worker()
    for _ in range(3):
        worker.refresh(row.work_unit)
        world.clock.advance(300)
    assert world.mints() == 1
    del world.issuer.respond["/token"]
    worker.refresh(row.work_unit)
    assert worker.refreshed == ["scheduler"]


def too_many_requests(connection: socket, _: Event) -> None:
    connection.sendall(b"HTTP/1.1 429 Slow down\r\nRetry-After: 40\r\nContent-Length: 0\r\n\r\n")


def refreshed(world: World, runner: str, **wanted: Any) -> TokenRow:
    """Register a runner; its token's row after a time slice."""
    world.worker().refresh(world.register(runner, **wanted).work_unit)
    row = world.row(runner)
    assert row is not None
    assert row.slot is not None
    return row


def test_retired_token_is_swept_twice_and_then_left(world: World) -> None:
    """The second sweep deletes late writes, and the row leaves the index."""
    row = refreshed(world, "nightly")
    world.delete("nightly")
    worker = world.worker()
    worker.refresh(row.work_unit)
    assert all(world.is_deleted(row, slot) for slot in range(2))
    world.clock.advance(301)
    worker.refresh(row.work_unit)
    (left,) = world.retired()
    assert "shard" not in left
    assert "due_at" not in left
    assert int(left["ttl"]["N"]) == int(world.clock()) + RETIRED_LIFETIME_SECONDS


def test_retired_token_stays_while_its_secrets_cannot_be_deleted(world: World) -> None:
    """The sweep is reported and repeated, and the row has no end of life until it succeeds."""
    row = refreshed(world, "nightly")
    world.delete("nightly")
    worker = world.worker()
    world.aws.faults.follow("DeleteSecret", afterwards=ACCESS_DENIED)
    began = int(world.clock())
    for _ in range(3):
        worker.refresh(row.work_unit)
        (left,) = world.retired()
        assert "ttl" not in left
        assert left["last_error"]["M"]["class"]["S"] == "store_refused"
        assert int(left["last_error"]["M"]["since"]["N"]) == began
        world.clock.advance(600)
    assert worker.failed_sweeps == [("scheduler", "AccessDeniedException")] * 3
    world.aws.faults.clear()
    worker.refresh(row.work_unit)
    (left,) = world.retired()
    assert "shard" not in left
    assert "last_error" not in left
    assert int(left["ttl"]["N"]) == int(world.clock()) + RETIRED_LIFETIME_SECONDS


def test_shared_token_is_revoked_with_its_last_runner(world: World) -> None:
    """Before, other runners use it."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    world.register("second")
    row = refreshed(world, "first")
    for runner, revoked in (("first", 0), ("second", 1)):
        world.delete(runner)
        world.worker().refresh(row.work_unit)
        assert len(world.issuer.revoked) == revoked


@pytest.mark.parametrize(("isolated", "revoked"), [(False, 0), (True, 1)])
def test_retired_token_is_not_revoked_while_a_live_one_is_for_the_same(
    world: World, *, isolated: bool, revoked: int
) -> None:
    """An issuer may give out one token twice, from its cache. An isolated token is its runner's."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    row = refreshed(world, "nightly", isolated=isolated)
    world.delete("nightly")
    anew = world.register("nightly", isolated=isolated)
    assert anew.id != row.id
    world.worker().refresh(row.work_unit)
    assert len(world.issuer.revoked) == revoked
    assert all(world.is_deleted(row, slot) for slot in range(2))


def test_all_living_generations_of_a_retired_token_are_revoked(world: World) -> None:
    """The one before the newest is in another slot, and lives on for some minutes."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    row = refreshed(world, "nightly")
    world.clock.advance(570)
    world.worker().refresh(row.work_unit)
    world.delete("nightly")
    world.worker().refresh(row.work_unit)
    assert sorted(world.issuer.revoked) == sorted(world.issuer.issued)


@pytest.mark.parametrize("lifetime", [900, 3_600])
def test_token_before_a_requested_refresh_is_revoked_too(world: World, lifetime: int) -> None:
    """Each slot's secret still holds it, as the version before the newest, and it lives on."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    world.issuer.lifetime = lifetime
    row = refreshed(world, "nightly")
    for _ in range(row.slots or 1):
        world.clock.advance(20)
        world.ask_for_refresh("nightly")
        world.worker().refresh(row.work_unit)
    world.delete("nightly")
    world.worker().refresh(row.work_unit)
    assert len(world.issuer.issued) == 1 + (row.slots or 1)
    assert sorted(world.issuer.revoked) == sorted(world.issuer.issued)


def test_expired_token_is_not_revoked(world: World) -> None:
    """Its issuer has nothing to end."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    row = refreshed(world, "nightly")
    world.delete("nightly")
    world.clock.advance(900)
    world.worker().refresh(row.work_unit)
    assert world.issuer.revoked == []
    assert world.is_deleted(row, row.slot or 0)


def test_token_retired_during_its_refresh_leaves_no_secret(world: World) -> None:
    """The secret that was written meanwhile is deleted, and its token revoked."""
    world.give_client(token_endpoint="", issuer=world.issuer.url)
    row = world.register("nightly")
    world.aws.faults.follow("CreateSecret", Meanwhile(lambda: world.delete("nightly")))
    world.worker().refresh(row.work_unit)
    assert world.row("nightly") is None
    assert all(world.is_deleted(row, slot) for slot in range(2))
    assert world.issuer.revoked == world.issuer.issued


def test_second_worker_leaves_a_leased_work_unit_alone(world: World) -> None:
    """It does not mint while the lease lasts."""
    row = world.register("nightly")
    holder, other = world.worker(), world.worker()
    now = world.clock()
    assert holder.refresher.leases.take(row.work_unit, now=now, until=now + 60)
    assert other.refresh(row.work_unit) == "held"
    assert world.mints() == 0
    world.clock.advance(61)
    assert other.refresh(row.work_unit) == "done"


def test_worker_that_lost_its_lease_stops(world: World) -> None:
    """It finds another owner between two batches, and leaves the rest to that worker."""
    rows = world.register_all(f"runner-{number}" for number in range(COMMITS_A_CALL + 1))
    other = world.worker()

    def stand_still() -> None:
        world.clock.advance(LEASE_SECONDS + 1)
        now = world.clock()
        assert other.refresher.leases.take(rows[0].work_unit, now=now, until=now + LEASE_SECONDS)

    world.aws.faults.follow("TransactWriteItems", Meanwhile(stand_still))
    worker = world.worker()
    assert worker.refresh(rows[0].work_unit) == "held"
    assert len(worker.refreshed) == COMMITS_A_CALL
    (lease,) = [item for item in world.rows() if item["project"]["S"].startswith("lease#")]
    assert int(lease["until"]["N"]) >= world.clock() + LEASE_SECONDS


def test_lease_is_renewed_during_a_long_time_slice(world: World) -> None:
    """After a third of its time, and not with each batch."""
    rows = world.register_all(f"runner-{number}" for number in range(2 * COMMITS_A_CALL + 1))
    world.aws.faults.follow(
        "TransactWriteItems", Meanwhile(lambda: world.clock.advance(LEASE_SECONDS / 3 + 1))
    )
    assert world.worker().refresh(rows[0].work_unit) == "done"
    leases = [
        call
        for call in world.aws.calls
        if call.operation == "PutItem" and "until" in call.document["Item"]
    ]
    assert len(leases) == 2


def test_time_slice_is_for_its_deadlines_and_for_new_tokens(world: World) -> None:
    """Also for new tokens that are registered while the time slice lasts."""
    now = int(world.clock())
    early, late = (
        replace(
            world.register(name, isolated=True),
            deadline=now + life,
            expires_at=now + life,
            slot=0,
            lifetime=900,
        )
        for name, life in (("early", 10), ("late", 20))
    )
    world.put(early)
    world.put(late)
    world.aws.faults.follow("DeleteItem", Meanwhile(lambda: world.register("new", isolated=True)))
    worker = world.worker()
    assert worker.refresh(early.work_unit, up_to=early.deadline) == "done"
    assert worker.refreshed == ["early", "new"]


def test_time_slice_is_for_tokens_that_were_due_by_a_time(world: World) -> None:
    """A second message does only the work of the first."""
    now = int(world.clock())
    due, later = (
        replace(
            world.register(name, isolated=True),
            deadline=now + 300,
            expires_at=now + 300,
            slot=0,
            lifetime=900,
            due_at=now - ago,
        )
        for name, ago in (("due", 30), ("later", 29))
    )
    world.put(due)
    world.put(later)
    worker = world.worker()
    assert worker.refresh(due.work_unit, up_to=now + 300, due_by=now - 30) == "done"
    assert worker.refreshed == ["due"]
    assert worker.refresh(due.work_unit, up_to=now + 300, due_by=now - 30) == "done"
    assert worker.refresh(due.work_unit, due_by=now + 60) == "done"
    assert worker.refreshed == ["due", "later"]


def test_no_secret_text_in_tables_messages_or_names(world: World) -> None:
    """A token is in Secrets Manager and nowhere else."""
    rows = world.register_all(f"runner-{number}" for number in range(3))
    world.worker().refresh(rows[0].work_unit)
    assert world.aws.leaks() == []
    assert not world.aws.secrets.texts.occur_in(world.rows())
    assert len(world.aws.secrets.texts) > 0
