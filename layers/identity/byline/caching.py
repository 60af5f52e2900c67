"""A bounded cache whose values expire, and one call for concurrent cache misses."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

Clock = Callable[[], float]
"""Seconds since the epoch. It is wall time: the monotonic clock of a frozen or restored Lambda
environment stands still, while tokens and keys expire."""


class BoundedCache[K: Hashable, V]:
    """At most `size` values, each with its own expiry. The least recently used is evicted first."""

    def __init__(self, size: int, *, now: Clock) -> None:
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._size = size
        self._now = now
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value of `key`; None where it is absent or expired."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            until, value = entry
            if self._now() >= until:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return value

    def put(self, key: K, value: V, *, until: float) -> None:
        """Store `value` until the time `until`, seconds since the epoch."""
        with self._lock:
            self._entries[key] = (until, value)
            self._entries.move_to_end(key)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def discard(self, key: K) -> None:
        """Delete the value of `key`, if it has one."""
        with self._lock:
            self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)


class SingleFlight[K: Hashable]:
    """One lock for each key in progress, so that concurrent cache misses make one call.

    A thread that waited must look into the cache again: the first thread has filled it.
    """

    def __init__(self) -> None:
        self._under_way: dict[K, tuple[Lock, int]] = {}
        self._lock = Lock()

    def run[V](self, key: K, work: Callable[[], V]) -> V:
        """The result of `work`, run alone for its key. `work` must look into the cache first."""
        with self._lock:
            lock, users = self._under_way.get(key, (Lock(), 0))
            self._under_way[key] = (lock, users + 1)
        try:
            with lock:
                return work()
        finally:
            with self._lock:
                lock, users = self._under_way[key]
                if users == 1:
                    del self._under_way[key]
                else:
                    self._under_way[key] = (lock, users - 1)
