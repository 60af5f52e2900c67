"""When the work of a tick begins: on the minute, at whatever second of it the tick came."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from byline.refresh.timing import TICK_SECONDS


def scheduled_time(event: Mapping[str, Any]) -> int | None:
    """For when the schedule had this tick, in seconds since the epoch; None where it says nothing.

    `template.yaml` has EventBridge Scheduler write it into the event:
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    try:
        at = datetime.fromisoformat(event["scheduled_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return None if at.tzinfo is None else int(at.timestamp())


def work_begins(*, scheduled: int | None, now: int) -> int:
    """The second from which on a tick's messages are delivered, `now` or within a minute of it.

    The scheduler brings a tick up to 59 seconds late, so two of them may lie anything from one
    second to two minutes apart. Work that begins a minute after the scheduled time is as regular as
    the schedule, and no runner waits for more than that minute. A tick that is later still, or that
    somebody made by hand, is for now.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """
    if scheduled is None:
        return now
    return min(max(now, scheduled + TICK_SECONDS), now + TICK_SECONDS)
