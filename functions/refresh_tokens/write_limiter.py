"""Keeping this worker's share of Secrets Manager's writes.

`PutSecretValue` and its kin share 50 calls a second in an account and region, not adjustable
(https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html). The workers
together take at most 40: the event source's `MaximumConcurrency` times each one's own rate.
"""

from collections.abc import Callable
from threading import Lock

from byline.caching import Clock

_PRECISION_SECONDS = 1e-6


class WriteLimiter:
    """Lets writes through at an even pace, without bursts: a burst of each worker would add up.

    Threads are served in the order they ask. Between two of them lies at least the pace, however
    late the first one woke up: so no second has more than its rate.
    """

    def __init__(
        self, writes_per_second: float, *, now: Clock, sleep: Callable[[float], None]
    ) -> None:
        self._interval = 1 / writes_per_second + _PRECISION_SECONDS
        self._now = now
        self._sleep = sleep
        self._reserved_up_to = 0.0
        self._last = float("-inf")
        self._lock = Lock()

    def wait(self) -> None:
        """Return when the next write may be sent."""
        with self._lock:
            at = max(self._now(), self._reserved_up_to)
            self._reserved_up_to = at + self._interval
        while (left := self._left(at)) > 0:
            self._sleep(left)

    def _left(self, at: float) -> float:
        """Seconds until the write reserved for `at` may be sent; 0 sends it off."""
        with self._lock:
            now = self._now()
            left = max(at, self._last + self._interval) - now
            if left > _PRECISION_SECONDS:
                return left
            self._last = now
            return 0
