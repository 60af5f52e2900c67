"""The queue of work units, and the Lambda event source that invokes workers with its messages."""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from byline.refresh.work_units import Selection, WorkUnit
from refresh_tokens.refresher import UNITS_AT_ONCE, DueSoonUnit, SliceOutcome, run_time_slices
from simulation.threads import TurnThreads
from simulation.timeline import Died
from simulation.world import Sandbox, World

RESERVE_SECONDS = 10
POLL_SECONDS = 1.0
DELIVERY_SECONDS = 1.0
COLD_START_SECONDS = 1.0


class Worker(Protocol):
    """An execution environment of a function that refreshes units."""

    def begin(self) -> None:
        """Begin an invocation."""

    def refresh(
        self, unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> SliceOutcome:
        """Refresh the due tokens of a work unit, as `Refresher.refresh` does."""

    def take_soon(self) -> list[DueSoonUnit]:
        """The work units that are due before the next tick, each once."""


type NewEnvironment = Callable[[Sandbox, str], Worker]


class Queue:
    """A standard SQS queue: messages arrive up to a second late, so not quite in order."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._messages: list[tuple[float, int, WorkUnit, Selection]] = []
        self._serial = count()

    def send(self, unit: WorkUnit, wanted: Selection, *, delay: float = 0) -> None:
        """Send a message that becomes visible after `delay` seconds, or up to a second later."""
        delay += self._world.random.random() * DELIVERY_SECONDS
        visible_at = self._world.timeline.now + delay
        heappush(self._messages, (visible_at, next(self._serial), unit, wanted))

    def receive(self, at_most: int) -> dict[WorkUnit, Selection]:
        """Up to `at_most` visible messages, joined by work unit as the worker reads them."""
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
    """Invokes as many workers at once as the deployment allows, each with a batch of messages."""

    def __init__(self, world: World, queue: Queue, *, new_environment: NewEnvironment) -> None:
        self._world = world
        self._queue = queue
        self._new_environment = new_environment
        self._sandboxes: list[Sandbox] = []
        self._names = count()

    def start(self) -> None:
        """Start all workers."""
        for _ in range(self._world.deployment.workers):
            sandbox = Sandbox(self._world.timeline)
            self._sandboxes.append(sandbox)
            self._world.timeline.start(partial(self._work, sandbox, f"worker-{next(self._names)}"))

    def deploy(self) -> None:
        """Stop all workers at once, in the middle of their work, and start new ones."""
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
        """Run the handler on a batch, and make the messages of what died visible again."""
        timeline, deployment = self._world.timeline, self._world.deployment
        started_at = timeline.now
        end = started_at + deployment.time_limit - RESERVE_SECONDS
        unfinished, lost = set(batch), set[WorkUnit]()

        def refresh(unit: WorkUnit, until: float) -> SliceOutcome:
            if sandbox.is_dead:
                raise Died
            wanted = batch[unit]
            self._world.messages[unit] = wanted.message_ids
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
                return "done"  # only this time slice died; the other work units go on
            if outcome != "unfinished":
                unfinished.discard(unit)
            return outcome

        worker.begin()
        run_time_slices(
            batch,
            refresh=refresh,
            failed=_fail,
            threads=TurnThreads(timeline, at_once=UNITS_AT_ONCE),
            now=timeline.clock,
            end=end,
        )
        hidden_for = max(0.0, started_at + deployment.visibility - timeline.now)
        again = unfinished if sandbox.is_dead else lost
        for unit, wanted in batch.items():
            if unit in again:
                self._queue.send(unit, wanted, delay=hidden_for)
        if sandbox.is_dead:
            raise Died
        for soon in worker.take_soon():
            delay = max(0.0, soon.due_at - timeline.now)
            wanted = Selection(soon.deadline, None, (f"soon-{next(self._names)}",))
            self._queue.send(soon.work_unit, wanted, delay=delay)


def _fail(unit: WorkUnit, error: Exception) -> None:
    """Raise: in the simulation a work unit fails only because of a defect."""
    raise error
