"""Users, workers and their deaths, one step at a time in an order that chance decides.

A step is one call of anybody's, or its answer. So all orders in which calls can meet are possible,
and the same seed gives the same one again.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from greenlet import getcurrent, greenlet

from register_resources.claims import SETTLE_SECONDS
from register_resources.pending_rows import RunKey
from stand_ins.authorization_service import DONE, Fails, Fault, Hangs
from tests.register.world import LIFE_SECONDS, World

TROUBLES: tuple[Fault, ...] = (
    Fails(503),
    Fails(502, is_done=True),
    Fails(500),
    Fails(401),
    Fails(403),
    Fails(404, DONE),
    Fails(200, b"<html>garbage"),
    Fails(200, b"garbage", is_done=True),
    Fails(200, b'{"success": false}'),
    Hangs("at once"),
    Hangs("late"),
    Hangs("late"),
    Hangs("never"),
)


class Killed(BaseException):
    """A worker's process is gone: Lambda has ended it, or its machine has."""


@dataclass(eq=False)
class Actor:
    """Somebody at work, until when he lives, and up to which step he does nothing: whatever he has
    just learnt may not be so any more when he goes on."""

    work: greenlet
    dies_at: float
    idle_until: int = 0


class Crowd:
    """The actors of a world."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self._actors: list[Actor] = []
        self._favourite: Actor | None = None
        """Who goes on for a while: what others do in one stretch falls between two calls of one."""
        self._taken_at: dict[int, float] = {}
        self._steps = 0
        self._settling: list[RunKey] = []
        self.alive: list[RunKey] = []
        """Runs that nobody has set out to delete."""
        self.records: list[RunKey] = []
        """Of the stream: runs that were created or deleted, not yet handed over."""

    @property
    def is_busy(self) -> bool:
        """Whether anybody is still at work."""
        return bool(self._actors)

    @property
    def disputed(self) -> list[RunKey]:
        """Runs that somebody is settling, and nobody has set out to delete."""
        return [key for key in self._settling if key in self.alive]

    def enter(self, act: Callable[[], object]) -> None:
        """Somebody starts to do something."""

        def work() -> None:
            # His claims end with him, no sooner: the latest that he may be alive.
            actor.dies_at = self._world.clock() + LIFE_SECONDS
            with suppress(Killed):
                act()

        actor = Actor(greenlet(work), float("inf"))
        self._actors.append(actor)

    def create(self) -> None:
        key = self._world.create(step=self._pause)
        self.alive.append(key)
        self._announce(key)

    def delete(self, key: RunKey) -> None:
        self._world.delete(key, step=self._pause)
        self._announce(key)

    def settle(self, key: RunKey) -> None:
        """A worker; what befalls its calls is drawn as they come."""
        self._settling.append(key)
        try:
            self._world.settle(key, step=self._befall)
        finally:
            self._settling.remove(key)

    def make_pass(self) -> None:
        """A worker that goes through the index as it was when it started."""
        for waiting in self._world.waiting():
            self.settle(waiting.key)

    def step(self) -> None:
        """One actor makes one step, or dies; or the service does what it had left lying."""
        if self._world.graph.late and self._random.random() < 0.01:
            self._world.graph.catch_up(calls=1)
        if not self._actors:
            return
        self._steps += 1
        awake = [actor for actor in self._actors if actor.idle_until < self._steps] or self._actors
        if self._favourite not in awake or self._random.random() < 0.05:
            self._favourite = self._random.choice(awake)
        actor = self._favourite
        if self._random.random() < 0.01:
            self._kill(actor)
        elif self._random.random() < 0.05:
            self._idle(actor)
        elif actor.work.switch() is None and actor.work.dead:
            self._actors.remove(actor)

    def let_time_pass(self, seconds: float) -> None:
        """Nobody outlives his time, and what was sent stays lying no longer than it may."""
        now = self._world.clock() + seconds
        for actor in [actor for actor in self._actors if actor.dies_at <= now]:
            self._kill(actor)
        late = self._world.graph.late
        overdue = sum(self._taken_at[id(call)] + SETTLE_SECONDS <= now for call in late)
        self._world.graph.catch_up(calls=overdue)
        self._world.clock.advance(seconds)

    def _announce(self, key: RunKey) -> None:
        """The stream has a record of it, which is handed over at once or at some time."""
        self.records.append(key)
        if self._random.random() < 0.6:
            self.settle(key)

    def _kill(self, actor: Actor) -> None:
        if actor.work:
            actor.work.throw(Killed)
        self._note_what_was_taken()
        self._actors.remove(actor)

    def _pause(self, _: str) -> None:
        """An actor lets the others go first."""
        self._note_what_was_taken()
        scheduler = getcurrent().parent
        assert scheduler is not None
        scheduler.switch()

    def _idle(self, actor: Actor) -> None:
        actor.idle_until = self._steps + self._random.randrange(10, 60)

    def _befall(self, name: str) -> None:
        if name == "update_item" and self._favourite and self._random.random() < 0.4:
            self._idle(self._favourite)  # between what he has read and what he writes
        if name == "post" and self._random.random() < 0.5:
            self._world.faults.append(self._random.choice(TROUBLES))
        self._pause(name)

    def _note_what_was_taken(self) -> None:
        for call in self._world.graph.late:
            self._taken_at.setdefault(id(call), self._world.clock())
