"""Pointers of runners to tokens hold, whatever is killed wherever, and end well.

The API's store and workers run with random interleavings, and die between any two calls.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from byline.refresh.runner_rows import RunnerRow, read_runner
from byline.refresh.token_rows import TokenRow, read_token_row
from refresh_tokens.sweeper import SWEEP_AGAIN_SECONDS
from serve_runs.audit.trail import ActionContext
from serve_runs.errors import RequestFailed
from tests.refresh.troubles import secrets_of
from tests.refresh.world import LEASE_SECONDS, CallCounter, Crash, World, new_world, registration

RUNNERS = ("one", "two", "three", "four")
WANTED: tuple[dict[str, Any], ...] = (
    {},
    {"audience": "reports"},
    {"audience": "reports", "scope": "read"},
    {"isolated": True},
)
STEPS = 25
MOST_EDGES = 40


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as world:
        yield world


@dataclass(frozen=True)
class Table:
    """The rows of all runners and tokens at one moment."""

    runners: list[RunnerRow]
    live: list[TokenRow]
    retired: list[TokenRow]

    @classmethod
    def of(cls, world: World) -> "Table":
        runners, live, retired = [], [], []
        for item in world.rows():
            match item["project"]["S"].split("#"):
                case [_]:
                    runners.append(read_runner(item))
                case ["tokens", _]:
                    live.append(read_token_row(item))
                case ["retired", _]:
                    retired.append(read_token_row(item))
        return cls(runners, live, retired)


def assert_pointers_hold(world: World) -> None:
    """The invariants that hold at every moment."""
    table = Table.of(world)
    pointing = Counter((runner.project, runner.token) for runner in table.runners)
    counted = {(row.project, row.mint_key.token_key): row.runners for row in table.live}
    assert counted == pointing, "a token without a runner, a runner without one, or another count"
    assert all(row.shard is not None and row.due_at is not None for row in table.live)
    ids = {row.id for row in table.live} | {row.id for row in table.retired if row.due_at}
    for project in {runner.project for runner in table.runners} | {"payments"}:
        stray = [name for name in secrets_of(project, world) if name.split("/")[-2] not in ids]
        assert not stray, "a secret that nobody deletes"
    assert len(ids) == len(table.live) + sum(row.due_at is not None for row in table.retired)


def assert_readers_get_their_rights(world: World) -> None:
    """Who follows the rule finds no token of another request: runner, its token, its slots."""
    table = Table.of(world)
    tokens = {(row.project, row.mint_key.token_key): row for row in table.live}
    for runner in table.runners:
        row = tokens[runner.project, runner.token]
        for name in secrets_of(runner.project, world):
            if f"/{row.id}/" in name:
                asked = world.issuer.issued_for[world.current(name)["token"]]
                assert asked.get("audience") == runner.audience
                assert asked.get("scope") == runner.scope
        if row.slot is not None:
            assert world.token(row)["generation"] == row.generation


def work(world: World, hook: Callable[[Any], None] = lambda _: None) -> None:
    """A worker that refreshes all work units. `hook` gets each of its clients."""
    worker = world.worker()
    for client in worker.clients:
        hook(client)
    table = Table.of(world)
    for unit in sorted({row.work_unit for row in table.live + table.retired}):
        worker.refresh(unit)
    assert worker.unexpected == []
    assert worker.failed_sweeps == []


def assert_all_end_well(world: World) -> None:
    """A while later, all tokens are fresh and nothing is left of the others."""
    for seconds in (LEASE_SECONDS, SWEEP_AGAIN_SECONDS, SWEEP_AGAIN_SECONDS):
        world.clock.advance(seconds)
        work(world)
        assert_pointers_hold(world)
    table = Table.of(world)
    assert all(row.due_at is None and row.ttl is not None for row in table.retired)
    for row in table.live:
        assert row.expires_at is not None
        assert row.expires_at > world.clock() + 300
        assert world.token(row)["generation"] == row.generation
    assert_readers_get_their_rights(world)


# Each call of the API


def store_calls(world: World, project: str) -> dict[str, Callable[[Any], None]]:
    """The changes of runners, by name, each with another client of DynamoDB."""

    def register(runner: str, **wanted: Any) -> Callable[[Any], None]:
        asked = registration(project, runner, **wanted)
        return lambda client: _permitted(world, client, asked)

    def delete(runner: str) -> Callable[[Any], None]:
        return lambda client: _deleted(world, client, project, runner)

    return {
        "first of a token": register("new", audience="new"),
        "joins a token": register("new"),
        "changes, with others": register("one", audience="new"),
        "changes, as the last": register("alone", audience="new"),
        "isolates itself": register("one", isolated=True),
        "moves to a shared one": register("alone"),
        "deleted, with others": delete("one"),
        "deleted, as the last": delete("alone"),
    }


def _permitted(world: World, client: Any, asked: Any) -> None:
    world.store_of(client).register(asked, permit=lambda *_: None)


def _deleted(world: World, client: Any, project: str, runner: str) -> None:
    action = ActionContext(None, str(uuid4()))
    world.store_of(client).delete(project, runner, action=action)


@pytest.mark.parametrize("change", store_calls(None, ""))  # type: ignore[arg-type]
def test_crash_at_any_call_of_a_change_leaves_all_or_nothing(world: World, change: str) -> None:
    """The same request again completes it, and the next workers do the rest."""
    # The end of a call leaves the state that the begin of the next one finds.
    for edge in (0, *range(1, MOST_EDGES, 2)):
        project = f"project-{edge}"
        world.give_client(project=project)
        for runner, wanted in (("one", {}), ("two", {}), ("alone", {"audience": "reports"})):
            _permitted(world, world.dynamodb, registration(project, runner, **wanted))
        client, counter = world.client("dynamodb"), CallCounter(edge)
        listen(counter, client)
        carry_out = store_calls(world, project)[change]
        with suppress(Crash):
            carry_out(client)
        assert_pointers_hold(world)
        if not counter.is_dead:
            break
        with suppress(RequestFailed):
            carry_out(world.dynamodb)
        assert_pointers_hold(world)
    assert 4 <= edge < MOST_EDGES
    assert_all_end_well(world)


def listen(counter: CallCounter, client: Any) -> None:
    """Let the counter see, and end, the calls of a client."""
    client.meta.events.register("before-send", counter.before)
    client.meta.events.register("after-call", counter.after)
    client.meta.events.register("after-call-error", counter.after)


# Random interleavings


@dataclass
class Chaos:
    """Random changes and workers, of which some die, and some are interrupted by another."""

    world: World
    random: Random
    deaths: int = 0
    interruptions: int = 0

    def step(self) -> None:
        """One change or worker."""
        self.world.clock.advance(self.random.choice([0, 1, 11, 30, 100, 301, 570]))
        self._carry_out(may_be_interrupted=True)

    def _carry_out(self, *, may_be_interrupted: bool) -> None:
        fate = self.random.choice(["lives", "dies", "is interrupted"])
        counter = CallCounter(self.random.randrange(30) if fate == "dies" else None)
        interruption = None
        if fate == "is interrupted" and may_be_interrupted:
            interruption = self._interruption(at=self.random.randrange(4))

        def hook(client: Any) -> None:
            if interruption is not None:
                client.meta.events.register("before-call", interruption)
            listen(counter, client)

        with suppress(Crash, RequestFailed):
            self._change_or_work(hook)
        self.deaths += counter.is_dead

    def _interruption(self, *, at: int) -> Callable[..., None]:
        calls: list[None] = []

        def interrupt(**_: Any) -> None:
            calls.append(None)
            if len(calls) == at + 1:
                self.interruptions += 1
                self._carry_out(may_be_interrupted=False)

        return interrupt

    def _change_or_work(self, hook: Callable[[Any], None]) -> None:
        world, runner = self.world, self.random.choice(RUNNERS)
        kind = self.random.choice(["register", "register", "delete", "refresh", "work", "work"])
        if kind == "work":
            work(world, hook)
            return
        client = world.client("dynamodb")
        hook(client)
        if kind == "register":
            wanted = self.random.choice(WANTED)
            _permitted(world, client, registration("payments", runner, **wanted))
        elif kind == "delete":
            _deleted(world, client, "payments", runner)
        else:
            action = ActionContext(None, str(uuid4()))
            world.store_of(client).refresh("payments", runner, action=action)


@pytest.mark.parametrize("seed", range(4))
def test_pointers_hold_whatever_is_killed_or_interrupted(world: World, seed: int) -> None:
    """Registrations, changes, deletions, requests for a refresh, and workers, in any order."""
    chaos = Chaos(world, Random(seed))  # noqa: S311
    for _ in range(STEPS):
        chaos.step()
        assert_pointers_hold(world)
        assert_readers_get_their_rights(world)
    assert chaos.deaths > 0
    assert chaos.interruptions > 0
    assert_all_end_well(world)


def test_count_that_is_wrong_fails_the_check(world: World) -> None:
    """The check of this module sees a pointer too many."""
    row = world.register("nightly")
    assert_pointers_hold(world)
    world.put(replace(row, runners=2))
    with pytest.raises(AssertionError, match="another count"):
        assert_pointers_hold(world)
