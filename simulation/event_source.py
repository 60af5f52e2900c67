"""The queue, and the workers that Lambda invokes with its messages."""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol

from byline.refresh_timing import SOON_SECONDS
from byline.refresh_units import Unit
from refresh_unit import Outcome
from simulation.ports import TurnThreads
from simulation.timeline import Died
from simulation.world import Sandbox, World
from unit_turns import take_turns

RESERVE_SECONDS = 10
POLL_SECONDS = 1.0
DELIVERY_SECONDS = 1.0
COLD_START_SECONDS = 1.0


class Worker(Protocol):
    """An execution environment of a function that refreshes units."""

    def begin(self) -> None: ...
    def refresh(self, unit: Unit, *, until: float, lease_until: float) -> Outcome: ...
    def take_next_due(self) -> dict[Unit, int]: ...


type NewEnvironment = Callable[[Sandbox, str], Worker]


class Queue:
    """Messages, more or less in the order in which they become visible."""

    def __init__(self, world: World[Any]) -> None:
        self._world = world
        self._messages: list[tuple[float, int, Unit]] = []
        self._serial = count()

    def send(self, unit: Unit, *, delay: float = 0) -> None:
        """Send a message that is delivered after `delay` seconds, or a little later."""
        delay += self._world.random.random() * DELIVERY_SECONDS
        visible_at = self._world.timeline.now + delay
        heappush(self._messages, (visible_at, next(self._serial), unit))

    def receive(self, at_most: int) -> dict[Unit, int]:
        """So many messages that are there: units, each with the number of its last message."""
        units: dict[Unit, int] = {}
        now = self._world.timeline.now
        while self._messages and len(units) < at_most and self._messages[0][0] <= now:
            _, number, unit = heappop(self._messages)
            units[unit] = number
        return units


class EventSource:
    """Invokes workers with batches of messages, never more at once than are allowed."""

    def __init__(self, world: World[Any], queue: Queue, *, new_environment: NewEnvironment) -> None:
        self._world = world
        self._queue = queue
        self._new_environment = new_environment
        self._sandboxes: list[Sandbox] = []
        self._names = count()

    def start(self) -> None:
        """Bring all workers up."""
        for _ in range(self._world.deployment.workers):
            sandbox = Sandbox(self._world.timeline)
            self._sandboxes.append(sandbox)
            self._world.timeline.start(partial(self._work, sandbox, f"worker-{next(self._names)}"))

    def deploy(self) -> None:
        """All workers die where they are, and others take their places."""
        for sandbox in self._sandboxes:
            sandbox.is_dead = True
        self._sandboxes.clear()
        self.start()

    def _work(self, sandbox: Sandbox, name: str) -> None:
        sandbox.spend(COLD_START_SECONDS)
        worker = self._new_environment(sandbox, name)
        while True:
            units = self._queue.receive(self._world.deployment.batch)
            if units:
                self._invoke(units, worker, sandbox)
            else:
                sandbox.spend(POLL_SECONDS)

    def _invoke(self, units: dict[Unit, int], worker: Worker, sandbox: Sandbox) -> None:
        """The handler, and what becomes of the messages that it did not answer for."""
        timeline, deployment = self._world.timeline, self._world.deployment
        started_at = timeline.now
        end = started_at + deployment.time_limit
        under_way: set[Unit] = set()

        def refresh(unit: Unit, until: float) -> Outcome:
            if sandbox.is_dead:
                raise Died
            under_way.add(unit)
            self._world.issuer.message_of[unit] = units[unit]
            try:
                outcome = worker.refresh(unit, until=until, lease_until=end)
            except Died:
                if sandbox.is_dead:
                    raise
                return "done"  # of the turn's unit nobody will hear; the others go on
            under_way.discard(unit)
            return outcome

        worker.begin()
        turns = take_turns(
            units,
            refresh=refresh,
            failed=_fail,
            threads=TurnThreads(timeline, at_once=deployment.units_at_once),
            now=timeline.clock,
            end=end - RESERVE_SECONDS,
        )
        lost = {*under_way, *turns.waiting} if sandbox.is_dead else under_way
        back_at = max(timeline.now, started_at + deployment.visibility)
        for unit in lost:
            self._queue.send(unit, delay=back_at - timeline.now)
        if sandbox.is_dead:
            raise Died
        if not deployment.rest_waits:
            for unit in turns.waiting:
                self._queue.send(unit)
        self._send_soon(worker.take_next_due())

    def _send_soon(self, next_due: dict[Unit, int]) -> None:
        now = self._world.timeline.now
        for unit, due_at in next_due.items():
            if due_at - now < SOON_SECONDS:
                self._queue.send(unit, delay=max(0.0, due_at - now))


def _fail(unit: Unit, error: Exception) -> None:
    """No unit fails here but by a fault of ours."""
    raise error
