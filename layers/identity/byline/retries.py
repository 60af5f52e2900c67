"""Waits between attempts: exponential, with full jitter.

The jitter spreads the retries of processes that failed at the same time.
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

import random as _random
from collections.abc import Callable

_MOST_DOUBLINGS = 10
"""A wait grows to at most 1,024 times its base. More doublings would overflow a float."""


def jittered_wait(
    failures: int,
    *,
    base_seconds: float,
    cap_seconds: float = float("inf"),
    random: Callable[[], float] = _random.random,
) -> float:
    """Seconds to wait after `failures` failed attempts in a row.

    The longest wait is `base_seconds` after the first failure. It doubles with each further one, up
    to `cap_seconds`. `random` returns uniform numbers from 0 to 1.
    """
    doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
    return min(cap_seconds, base_seconds * 2.0**doublings) * random()
