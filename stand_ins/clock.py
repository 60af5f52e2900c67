"""A clock that a test advances."""

from threading import Lock


class Clock:
    """Returns seconds since the epoch. Time passes only by `advance`, from any thread."""

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self._time = time
        self._lock = Lock()

    def __call__(self) -> float:
        return self._time

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        with self._lock:
            self._time += seconds
