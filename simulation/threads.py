"""Executors on simulated time, in place of the worker's threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet

from simulation.timeline import Timeline


class Turnstile:
    """A fair lock: one process at a time, in the order of arrival."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._is_taken = False
        self._queue: deque[greenlet] = deque()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold the lock while the block runs."""
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


class PutThreads(Executor):
    """The threads of puts. Batches wait for their turn, because all share one write limiter."""

    def __init__(self, timeline: Timeline) -> None:
        self._turnstile = Turnstile(timeline)

    def map[T](  # type: ignore[override]
        self, fn: Callable[..., T], *iterables: Iterable[Any]
    ) -> Iterable[T]:
        """The results of all calls, which run one after the other."""
        with self._turnstile.passing():
            return [fn(*arguments) for arguments in zip(*iterables, strict=True)]
