"""A limit of time for calls whose result a request can do without."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

BEST_EFFORT_SECONDS = 1.0


def within[Result](seconds: float, call: Callable[[], Result]) -> Result:
    """The result of `call`, or its error, within `seconds`.

    Raises `TimeoutError` where it takes longer. It then goes on in its own thread, so it must be
    harmless whenever it ends: botocore has no limit of time for one call, retries included.
    """
    outcome: SimpleQueue[Result | Exception] = SimpleQueue()

    def run() -> None:
        try:
            outcome.put(call())
        except Exception as error:
            outcome.put(error)

    Thread(target=run, daemon=True).start()
    try:
        result = outcome.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"not done within {seconds} s") from None
    if isinstance(result, Exception):
        raise result
    return result
