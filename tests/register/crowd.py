"""Users and workers that act concurrently, one step at a time in a random order, and may die.

A step is a call or its answer. So every interleaving of calls is possible, and the same seed gives
the same interleaving.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

from byline.registration.outbox import SETTLE_SECONDS
from register_resources.pending import RunKey
from stand_ins.authorization_service import DONE, Fails, Fault, Hangs
from tests.register.world import ADA, LIFE_SECONDS, ROBOT, RegistrationWorld

FAULTS: tuple[Fault, ...] = (
    Fails(503),
    Fails(502, is_done=True),
    Fails(500),
    Fails(504, is_done=True),
    Fails(429, retry_after="1"),
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
    """Ends a worker's process, as Lambda does at the time limit."""


@dataclass(eq=False)
class Actor:
    """A user or a worker, when it dies, and up to which step it does nothing.

    While it is idle, the data that it has read can become outdated.
    """

    work: greenlet
    dies_at: float
    idle_until: int = 0


class Crowd:
    """The actors of a world."""

    def __init__(self, world: RegistrationWorld, random: Random) -> None:
        self._world = world
        self._random = random
        self._actors: list[Actor] = []
        self._favourite: Actor | None = None
        """The actor that makes most steps, so that it often acts between two calls of another."""
        self._sent_at: dict[int, float] = {}
        self._steps = 0
        self._settling: list[RunKey] = []
        self.alive: list[RunKey] = []
        """Runs whose deletion has not begun."""
        self.records: list[RunKey] = []
        """The stream's records of created and deleted runs, not delivered yet."""

    @property
    def is_busy(self) -> bool:
        """Whether any actor is left."""
        return bool(self._actors)

    @property
    def disputed(self) -> list[RunKey]:
        """Runs that a worker is settling and whose deletion has not begun."""
        return [key for key in self._settling if key in self.alive]

    def enter(self, act: Callable[[], object]) -> None:
        """Add an actor that calls `act`."""

        def work() -> None:
            # The actor must not outlive its claims.
            actor.dies_at = self._world.clock() + LIFE_SECONDS
            with suppress(Killed):
                act()

        actor = Actor(greenlet(work), float("inf"))
        self._actors.append(actor)

    def create(self) -> None:
        """Create a run."""
        robot: dict[str, Any] = {"by": ROBOT, "person": ADA} if self._random.random() < 0.5 else {}
        key = self._world.create(step=self._pause, **robot)
        self.alive.append(key)
        self._announce(key)

    def delete(self, key: RunKey) -> None:
        """Delete a run."""
        self._world.delete(key, step=self._pause)
        self._announce(key)

    def settle(self, key: RunKey) -> None:
        """Settle a run, with random faults."""
        self._settling.append(key)
        try:
            self._world.settle(key, step=self._meet_fault)
        finally:
            self._settling.remove(key)

    def make_pass(self) -> None:
        """Settle every run that the index lists at the start."""
        for entry in self._world.pending():
            self.settle(entry.key)

    def step(self) -> None:
        """Let one actor make one step, or die; or let the service carry out a late call."""
        if self._world.graph.late and self._random.random() < 0.01:
            self._world.graph.apply_late_calls(calls=1)
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
        """Advance the clock. Actors die at their time, and overdue calls take effect."""
        now = self._world.clock() + seconds
        for actor in [actor for actor in self._actors if actor.dies_at <= now]:
            self._kill(actor)
        late = self._world.graph.late
        overdue = sum(self._sent_at[id(call)] + SETTLE_SECONDS <= now for call in late)
        self._world.graph.apply_late_calls(calls=overdue)
        self._world.clock.advance(seconds)

    def _announce(self, key: RunKey) -> None:
        """Add a record to the stream, and often deliver it at once."""
        self.records.append(key)
        if self._random.random() < 0.6:
            self.settle(key)

    def _kill(self, actor: Actor) -> None:
        if actor.work:
            actor.work.throw(Killed)
        self._note_late_calls()
        self._actors.remove(actor)

    def _pause(self, _: str) -> None:
        """Let other actors go first."""
        self._note_late_calls()
        scheduler = getcurrent().parent
        assert scheduler is not None
        scheduler.switch()

    def _idle(self, actor: Actor) -> None:
        actor.idle_until = self._steps + self._random.randrange(10, 60)

    def _meet_fault(self, name: str) -> None:
        if name == "update_item" and self._favourite and self._random.random() < 0.4:
            self._idle(self._favourite)  # between a read and a write
        if name == "post" and self._random.random() < 0.5:
            self._world.faults.append(self._random.choice(FAULTS))
        self._pause(name)

    def _note_late_calls(self) -> None:
        for call in self._world.graph.late:
            self._sent_at.setdefault(id(call), self._world.clock())
