"""Simulated time. Processes are plain functions, and only one of them runs at a time.

The deployed worker is synchronous code that sleeps. Each process is a greenlet, so that the same
code waits for simulated time.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count

from greenlet import getcurrent, greenlet


class Died(BaseException):
    """Ends a process. A `BaseException`, so that the code of the process does not catch it."""


class Timeline:
    """Runs processes in the order of simulated time, in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, greenlet]] = []
        self._serial = count()
        self._hub = getcurrent()

    def clock(self) -> float:
        """The simulated time in seconds, as a function."""
        return self.now

    def start(self, work: Callable[[], object], *, after: float = 0) -> None:
        """Start the process `work` after so many seconds."""
        self._schedule(after, greenlet(partial(_until_death, work), parent=self._hub))

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass for the calling process."""
        at = self.now + seconds
        if self._agenda and self._agenda[0][0] > at:
            self.now = at  # no other process is scheduled before
            return
        self._schedule(seconds, getcurrent())
        self._hub.switch()

    def gather(self, works: Iterable[Callable[[], object]]) -> None:
        """Run all of `works` side by side, and return when the last has ended or died."""
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
        """Run all processes up to the time `until`. Those that have not ended stay suspended."""
        self._schedule(until - self.now, self._hub)
        while self._agenda:
            self.now, _, process = heappop(self._agenda)
            if process is self._hub:
                return
            process.switch()

    def pause(self) -> None:
        """Suspend the calling process until another process calls `resume` for it."""
        self._hub.switch()

    def resume(self, process: greenlet) -> None:
        """Continue a process that is suspended in `pause`."""
        self._schedule(0, process)

    def _schedule(self, seconds: float, process: greenlet) -> None:
        heappush(self._agenda, (self.now + seconds, next(self._serial), process))


def _until_death(work: Callable[[], object]) -> None:
    with suppress(Died):
        work()
