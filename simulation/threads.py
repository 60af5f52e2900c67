"""Executors on simulated time, in place of the worker's threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet

from simulation.timeline import Died, Timeline


class Turnstile:
    """A fair lock: so many processes at a time as it has `places`, in the order of arrival."""

    def __init__(self, timeline: Timeline, *, places: int = 1) -> None:
        self._timeline = timeline
        self._free = places
        self._queue: deque[greenlet] = deque()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold a place while the block runs."""
        if self._free:
            self._free -= 1
        else:
            self._queue.append(getcurrent())
            self._timeline.pause()
        try:
            yield
        finally:
            if self._queue:
                self._timeline.resume(self._queue.popleft())
            else:
                self._free += 1


class TurnThreads(Executor):
    """The threads of time slices, at most `at_once` of them."""

    def __init__(self, timeline: Timeline, *, at_once: int) -> None:
        self._timeline = timeline
        self._at_once = at_once

    def map[T](  # type: ignore[override]
        self, fn: Callable[..., T], *iterables: Iterable[Any]
    ) -> Iterable[T]:
        """Run the first `at_once` calls side by side, and return nothing when all have ended."""
        works = [partial(fn, *arguments) for arguments in zip(*iterables, strict=True)]
        self._timeline.gather(works[: self._at_once])
        return []


class WorkerThreads(Executor):
    """The threads of mints and writes, at most `at_once` for all time slices of a worker."""

    def __init__(self, timeline: Timeline, *, at_once: int) -> None:
        self._timeline = timeline
        self._turnstile = Turnstile(timeline, places=at_once)

    def map[T](  # type: ignore[override]
        self, fn: Callable[..., T], *iterables: Iterable[Any]
    ) -> Iterable[T]:
        """The results of all calls. Raises `Died` where one of them died."""
        calls = list(zip(*iterables, strict=True))
        results: dict[int, T] = {}

        def call(number: int) -> None:
            with self._turnstile.passing():
                results[number] = fn(*calls[number])

        self._timeline.gather([partial(call, number) for number in range(len(calls))])
        if len(results) < len(calls):
            raise Died
        return [results[number] for number in range(len(calls))]
