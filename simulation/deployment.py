"""How the workers are run: what `template.yaml` and the functions' handlers decide."""

from dataclasses import dataclass, replace

from unit_turns import UNITS_AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Times in seconds.

    `units_at_once`: how many of its batch an invocation has under way.
    `on_the_minute`: whether a tick's messages are delayed to the end of its minute, and name what
    falls due until then. The scheduler is precise to a minute; so the work is, to a second.
    `rest_waits`: whether what an invocation has no time for waits for the next tick, or is sent to
    the queue anew.
    """

    workers: int = 2
    writes_per_second: int = 20
    batch: int = 50
    units_at_once: int = UNITS_AT_ONCE
    time_limit: float = 30
    visibility: float = 30
    on_the_minute: bool = True
    rest_waits: bool = False


PLANNED = Deployment()

VARIANTS: dict[str, Deployment] = {
    "as planned": PLANNED,
    "one unit at a time": replace(PLANNED, units_at_once=1),
    "ticks as the scheduler sends them": replace(PLANNED, on_the_minute=False),
    "time limit 60 s, visibility 360 s": replace(PLANNED, time_limit=60, visibility=360),
    "what is left waits for the next tick": replace(PLANNED, rest_waits=True),
    "batches of 10": replace(PLANNED, batch=10),
}
"""What each decision is worth: all of them, and all but one."""
