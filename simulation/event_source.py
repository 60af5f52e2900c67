"""The queue, and the workers that Lambda invokes with its messages."""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol

from byline.refresh.work_units import Selection, WorkUnit
from refresh_tokens.refresher import DueSoonUnit, SliceOutcome, run_time_slices
from simulation.ports import TurnThreads
from simulation.timeline import Died
from simulation.world import Sandbox, World

RESERVE_SECONDS = 10
POLL_SECONDS = 1.0
DELIVERY_SECONDS = 1.0
COLD_START_SECONDS = 1.0


class Worker(Protocol):
    """An execution environment of a function that refreshes units."""

    def begin(self) -> None: ...
    def refresh(
        self, unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> SliceOutcome: ...
    def take_soon(self) -> list[DueSoonUnit]: ...


type NewEnvironment = Callable[[Sandbox, str], Worker]


class Queue:
    """Messages, more or less in the order in which they become visible."""

    def __init__(self, world: World[Any]) -> None:
        self._world = world
        self._messages: list[tuple[float, int, WorkUnit, Selection]] = []
        self._serial = count()

    def send(self, unit: WorkUnit, wanted: Selection, *, delay: float = 0) -> None:
        """Send a message that is delivered after `delay` seconds, or a little later."""
        delay += self._world.random.random() * DELIVERY_SECONDS
        visible_at = self._world.timeline.now + delay
        heappush(self._messages, (visible_at, next(self._serial), unit, wanted))

    def receive(self, at_most: int) -> dict[WorkUnit, Selection]:
        """So many messages that are there, as the worker reads them."""
        batch: dict[WorkUnit, Selection] = {}
        now = self._world.timeline.now
        for _ in range(at_most):
            if not self._messages or self._messages[0][0] > now:
                break
            _, _, unit, wanted = heappop(self._messages)
            known = batch.get(unit)
            batch[unit] = known.joined(wanted) if known else wanted
        return batch


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
            batch = self._queue.receive(self._world.deployment.batch)
            if batch:
                self._invoke(batch, worker, sandbox)
            else:
                sandbox.spend(POLL_SECONDS)

    def _invoke(self, batch: dict[WorkUnit, Selection], worker: Worker, sandbox: Sandbox) -> None:
        """The handler, and what becomes of the messages that it did not answer for."""
        timeline, deployment = self._world.timeline, self._world.deployment
        started_at = timeline.now
        end = started_at + deployment.time_limit - RESERVE_SECONDS
        unfinished, lost = set(batch), set[WorkUnit]()

        def refresh(unit: WorkUnit, until: float) -> SliceOutcome:
            if sandbox.is_dead:
                raise Died
            wanted = batch[unit]
            self._world.issuer.message_of[unit] = wanted.message_ids[-1]
            try:
                outcome = worker.refresh(
                    unit,
                    up_to=wanted.up_to,
                    due_by=wanted.due_by,
                    until=until if wanted.up_to is None else end,
                )
            except Died:
                if sandbox.is_dead:
                    raise
                lost.add(unit)
                return "done"  # nobody will hear of this turn; the others go on
            if outcome != "unfinished":
                unfinished.discard(unit)
            return outcome

        worker.begin()
        run_time_slices(
            batch,
            refresh=refresh,
            failed=_fail,
            threads=TurnThreads(timeline, at_once=deployment.units_at_once),
            now=timeline.clock,
            end=end,
        )
        hidden_for = max(0.0, started_at + deployment.visibility - timeline.now)
        for unit in unfinished if sandbox.is_dead else lost:
            self._queue.send(unit, batch[unit], delay=hidden_for)
        if sandbox.is_dead:
            raise Died
        for unit in unfinished - lost if deployment.sent_again else ():
            self._queue.send(unit, batch[unit])
        for soon in worker.take_soon():
            delay = max(0.0, soon.due_at - timeline.now)
            wanted = Selection(soon.deadline, None, (f"soon-{next(self._names)}",))
            self._queue.send(soon.work_unit, wanted, delay=delay)


def _fail(unit: WorkUnit, error: Exception) -> None:
    """No unit fails here but by a fault of ours."""
    raise error
