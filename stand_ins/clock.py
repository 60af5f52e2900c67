"""Time that a test moves."""

from threading import Lock


class Clock:
    """Seconds since the epoch; stands still until it is advanced, from any thread."""

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self._time = time
        self._lock = Lock()

    def __call__(self) -> float:
        return self._time

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        with self._lock:
            self._time += seconds
