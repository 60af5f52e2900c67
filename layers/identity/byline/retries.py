"""Waits between attempts: exponential, with full jitter.

Processes that failed together do not come back together.
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

import random as _random
from collections.abc import Callable

_MOST_DOUBLINGS = 10
"""Every cap is reached before, and floats have not ended yet."""


def jittered_wait(
    failures: int,
    *,
    base_seconds: float,
    cap_seconds: float = float("inf"),
    random: Callable[[], float] = _random.random,
) -> float:
    """Seconds to wait after `failures` attempts in a row that failed.

    At most `base_seconds` after the first failure, and twice as much after each further one, up to
    `cap_seconds`. `random` is uniform from 0 to 1.
    """
    doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
    return min(cap_seconds, base_seconds * 2.0**doublings) * random()
