"""Keeping this worker's share of Secrets Manager's writes.

`PutSecretValue` and its kin share 50 calls a second in an account and region, not adjustable
(https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html). The workers
together take at most 40: the event source's `MaximumConcurrency` times each one's own rate.
"""

from collections.abc import Callable
from threading import Lock

from byline.caching import Clock


class WriteLimiter:
    """Lets writes through at an even pace, without bursts: a burst of each worker would add up."""

    def __init__(
        self, writes_per_second: float, *, now: Clock, sleep: Callable[[float], None]
    ) -> None:
        self._interval = 1 / writes_per_second
        self._now = now
        self._sleep = sleep
        self._next = 0.0
        self._lock = Lock()

    def wait(self) -> None:
        """Return when the next write may be sent. Threads are served in the order they ask."""
        with self._lock:
            now = self._now()
            at = max(now, self._next)
            self._next = at + self._interval
        if at > now:
            self._sleep(at - now)
