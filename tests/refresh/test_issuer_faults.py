"""An issuer that fails in any way loses no runner, gets few requests and delays no other client."""

from collections.abc import Iterator
from copy import replace
from socket import socket
from threading import Event

import pytest

from byline.refresh.token_rows import TokenRow
from refresh_tokens.errors import ERROR_CLASSES, FAILURES_OF_A_TOKEN, REFUSALS_OF_A_REQUEST
from refresh_tokens.minting import SILENCE_SECONDS
from refresh_tokens.retries import BREAKER_RECHECK_SECONDS
from tests.identity.loopback import answer, silence
from tests.refresh.issuer_troubles import TROUBLES, error, hang_up
from tests.refresh.troubles import (
    SLICES_WITH_FAULTS,
    assert_all_recover,
    assert_neighbour_is_well,
    prepared,
    tokens,
    work_in_trouble,
)
from tests.refresh.world import SLICE_SECONDS, World, new_world


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


@pytest.fixture
def row(world: World) -> TokenRow:
    return prepared(world)


def register_with_well_client(world: World, runner: str = "well") -> TokenRow:
    """Register a less urgent runner of another client."""
    world.give_client("reporter", token_endpoint=f"{world.issuer.url}/well")
    return world.register(runner, isolated=True, client="reporter")


def test_every_error_class_of_an_issuer_is_tried() -> None:
    """All but those of discovery, of Secrets Manager and of Byline."""
    of_secrets_manager = {"client_secret_unusable", "store_throttled", "store_refused"}
    tried = {trouble.error_class for trouble in TROUBLES.values()}
    of_discovery = {"issuer_mismatch"}
    assert tried == ERROR_CLASSES - of_secrets_manager - of_discovery - {"unexpected_error"}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_failing_issuer_loses_no_runner_and_no_token(
    world: World, row: TokenRow, trouble: str
) -> None:
    """Rows stay due with an error class, tokens stay, and other clients' tokens are written."""
    world.issuer.respond["/token"] = TROUBLES[trouble].respond
    register_with_well_client(world)
    worker = world.worker()
    asked = world.mints()
    before = tokens(world)
    seen = work_in_trouble(world, worker, row, "PutSecretValue")
    assert seen.error_classes == {TROUBLES[trouble].error_class}
    assert set(worker.failed_mints) == {TROUBLES[trouble].error_class}
    assert before.items() <= tokens(world).items()
    is_of_token = TROUBLES[trouble].error_class in FAILURES_OF_A_TOKEN | REFUSALS_OF_A_REQUEST
    tried = 2 if is_of_token else 1
    assert tried <= world.mints() - asked <= tried * SLICES_WITH_FAULTS
    if TROUBLES[trouble].over_after:
        assert world.mints() - asked == tried, "what is refused must not be tried again"
    reached = world.row("well")
    assert reached is not None
    assert world.token(reached)["token"]
    del world.issuer.respond["/token"]
    assert_neighbour_is_well(world, worker)
    assert_all_recover(world, row, after=TROUBLES[trouble].over_after)


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden"])
@pytest.mark.parametrize("retry_after", [None, 30, 86_400])
def test_firewall_before_the_issuer_costs_no_token_its_life(
    world: World, status: str, retry_after: int | None
) -> None:
    """A page in place of an answer, once, is over at the next try, while the old token lives."""
    row = fresh(world, world.register("trainer"))
    assert row.due_at is not None
    world.clock.advance(row.due_at - int(world.clock()))
    headers = f"Retry-After: {retry_after}\r\n" if retry_after else ""
    world.issuer.respond["/token"] = answer(b"<html>", status=status, headers=headers)
    world.worker().refresh(row.work_unit)
    del world.issuer.respond["/token"]
    failed = world.row("trainer")
    assert failed is not None
    assert failed.due_at is not None
    assert failed.expires_at is not None
    assert failed.last_error is not None
    assert failed.last_error.error_class == "unexpected_status"
    assert world.clock() + min(retry_after or 1, 200) <= failed.due_at < failed.expires_at
    world.clock.advance(failed.due_at - int(world.clock()))
    assert fresh(world, failed).generation == failed.generation + 1


def fresh(world: World, row: TokenRow) -> TokenRow:
    """The row after its refresh."""
    world.worker().refresh(row.work_unit)
    after = world.row("trainer")
    assert after is not None
    assert after.last_error is None
    return after


def test_refused_client_is_tried_again_with_another_secret(world: World, row: TokenRow) -> None:
    """Before that, neither a message nor a recheck asks the issuer."""
    world.issuer.respond["/token"] = error("401 Who", "invalid_client")
    asked = world.mints()
    worker = world.worker()
    for _ in range(3):
        worker.refresh(row.work_unit)
        world.clock.advance(BREAKER_RECHECK_SECONDS)
    assert world.mints() - asked == 1
    del world.issuer.respond["/token"]
    world.give_client()
    assert_all_recover(world, row)


def test_other_token_of_a_waiting_client_waits_too(world: World, row: TokenRow) -> None:
    """The issuer asked the client to wait, so none of its tokens is asked for earlier."""
    late = world.register("late", isolated=True)
    world.put(replace(late, due_at=int(world.clock()) + 39))
    world.issuer.respond["/token"] = answer(status="429 Slow", headers="Retry-After: 40\r\n")
    worker = world.worker()
    worker.refresh(row.work_unit)
    asked = world.mints()
    world.clock.advance(39)
    world.worker().refresh(row.work_unit)
    assert world.mints() == asked
    world.clock.advance(2)
    world.worker().refresh(row.work_unit)
    assert world.mints() == asked + 1


def test_hanging_issuer_is_waited_for_once_by_all_its_clients(world: World) -> None:
    """Every work unit would lose the same time again."""
    rows = []
    for number in range(5):
        world.give_client(project=f"project-{number}")
        rows.append(world.register("nightly", project=f"project-{number}"))
    world.issuer.respond["/token"] = silence
    worker = world.worker()
    for row in rows:
        worker.refresh(row.work_unit)
    assert world.mints() == 1
    assert worker.failed_mints == ["issuer_timeout"] * 5
    del world.issuer.respond["/token"]
    world.clock.advance(SILENCE_SECONDS)
    for row in rows:
        worker.refresh(row.work_unit)
        after = world.row("nightly", project=row.project)
        assert after is not None
        assert world.token(after)["token"]


def test_hanging_issuer_takes_no_more_than_a_time_slice(world: World) -> None:
    """Tokens minted before are written; other tokens wait for the next time slice."""
    row = world.register("first", isolated=True)
    world.clock.advance(1)
    register_with_well_client(world)
    world.give_client("auditor")

    def take_long(connection: socket, over: Event) -> None:
        world.clock.advance(SLICE_SECONDS)
        hang_up(connection, over)

    world.issuer.respond["/well"] = take_long
    for number in range(3):
        world.clock.advance(1)
        world.register(f"behind-{number}", isolated=True, client="auditor")
    worker = world.worker()
    assert worker.refresh(row.work_unit) == "unfinished"
    assert worker.refreshed == ["first"]
    assert worker.refresh(row.work_unit) == "done"
    assert sorted(worker.refreshed) == ["behind-0", "behind-1", "behind-2", "first"]


def test_failed_mint_does_not_stop_other_tokens_of_its_batch(world: World) -> None:
    """A working client and a refused one in one batch: the first gets its token."""
    row = world.register("good", isolated=True)
    register_with_well_client(world, "bad")
    world.issuer.respond["/well"] = error("401 Who", "invalid_client")
    worker = world.worker()
    assert worker.refresh(row.work_unit) == "done"
    assert worker.refreshed == ["good"]
    assert worker.failed == [("bad", "invalid_client")]
