"""Working on several units at once, in turns, until all are done or time is nearly over.

A unit spends most of its time waiting for its issuer and for AWS. One that waits for long, or that
has thousands of runners, is not to keep the others from their turn.
"""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor

from byline.caching import Clock
from byline.refresh.work_units import Unit
from refresh_tokens.work.refresher import Outcome

UNITS_AT_ONCE = 10

SHORTEST_TURN_SECONDS = 5


def take_turns(
    units: Iterable[Unit],
    *,
    refresh: Callable[[Unit, float], Outcome],
    failed: Callable[[Unit, Exception], None],
    threads: Executor,
    now: Clock,
    end: float,
) -> list[Unit]:
    """Let each of `units` have turns, `UNITS_AT_ONCE` at a time, that start before `end`.

    `refresh` is given a unit and the time until which its turn lasts; it may overrun that. What it
    raises is told to `failed`, and is that unit's alone. Returns the units that failed; what there
    was no time for waits for the next tick.
    """
    waiting = deque(units)
    failures: list[Unit] = []

    def work(_: int) -> None:
        while now() < end:
            try:
                unit = waiting.popleft()
            except IndexError:
                return
            share = (end - now()) * UNITS_AT_ONCE / (len(waiting) + UNITS_AT_ONCE)
            try:
                outcome = refresh(unit, min(end, now() + max(share, SHORTEST_TURN_SECONDS)))
            except Exception as error:
                failures.append(unit)
                failed(unit, error)
                continue
            if outcome == "unfinished":
                waiting.append(unit)

    for _ in threads.map(work, range(min(UNITS_AT_ONCE, len(waiting)))):
        pass
    return failures
