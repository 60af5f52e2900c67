"""Simulated time. Processes are ordinary functions, and only one of them runs at a moment.

The worker under test is synchronous code that sleeps: a greenlet lets it wait for simulated time
without knowing of it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count

from greenlet import getcurrent, greenlet


class Died(BaseException):
    """A process is no more. Nothing is left in it that could catch this."""


class Timeline:
    """Runs processes in the order of simulated time, in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, greenlet]] = []
        self._serial = count()
        self._hub = getcurrent()

    def clock(self) -> float:
        """The simulated time, for code that wants to call something."""
        return self.now

    def start(self, work: Callable[[], object], *, after: float = 0) -> None:
        """Let `work` begin in so many seconds."""
        self._schedule(after, greenlet(partial(_until_death, work), parent=self._hub))

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass for the process that calls."""
        at = self.now + seconds
        if self._agenda and self._agenda[0][0] > at:
            self.now = at  # nobody else has anything to do before
            return
        self._schedule(seconds, getcurrent())
        self._hub.switch()

    def gather(self, works: Iterable[Callable[[], object]]) -> None:
        """Let all of `works` run side by side, and go on when the last has ended or died."""
        waiting, left = getcurrent(), 0

        def run(work: Callable[[], object]) -> None:
            nonlocal left
            _until_death(work)
            left -= 1
            if left == 0:
                self._schedule(0, waiting)

        for work in works:
            left += 1
            self.start(partial(run, work))
        if left:
            self._hub.switch()

    def run(self, until: float) -> None:
        """Let everything happen that happens before `until`. Whatever is under way stays there."""
        self._schedule(until - self.now, self._hub)
        while self._agenda:
            self.now, _, process = heappop(self._agenda)
            if process is self._hub:
                return
            process.switch()

    def pause(self) -> None:
        """Wait until somebody calls `resume`."""
        self._hub.switch()

    def resume(self, process: greenlet) -> None:
        """Let a process go on that waits in `pause`."""
        self._schedule(0, process)

    def _schedule(self, seconds: float, process: greenlet) -> None:
        heappush(self._agenda, (self.now + seconds, next(self._serial), process))


def _until_death(work: Callable[[], object]) -> None:
    with suppress(Died):
        work()


class Turnstile:
    """Lets one process through at a time, in the order in which they come."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._is_taken = False
        self._queue: deque[greenlet] = deque()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold it while the block runs."""
        if self._is_taken:
            self._queue.append(getcurrent())
            self._timeline.pause()
        self._is_taken = True
        try:
            yield
        finally:
            if self._queue:
                self._timeline.resume(self._queue.popleft())
            else:
                self._is_taken = False
