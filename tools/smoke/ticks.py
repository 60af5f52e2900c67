"""The scheduler's tick reaches PlanRefreshFunction, which plans it."""

import json
import time

from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed

RECENT_SECONDS = 90
"""How old a tick may be: the schedule has one each minute."""

WAIT_SECONDS = 120


def check(surroundings: Surroundings, _: Cleanup) -> str:
    """Wait for a tick in the log, with the metrics that are written only where all was read."""
    stack = surroundings.stack
    group = stack.resources["PlanRefreshLogGroup"]
    pages = stack.client("logs").get_paginator("filter_log_events")
    since = time.time() - RECENT_SECONDS * surroundings.patience

    def ticks() -> list[str] | None:
        found = [
            event["message"]
            for page in pages.paginate(
                logGroupName=group, startTime=int(since * 1000), filterPattern='"Ticks"'
            )
            for event in page["events"]
            if '"Ticks"' in event["message"]
        ]
        return found or None

    messages = surroundings.wait_for(ticks, seconds=WAIT_SECONDS)
    if messages is None:
        at = time.strftime("%H:%M:%S", time.gmtime(since))
        raise Failed("a tick each minute", f"none in {group} since {at} UTC")
    health = [json.loads(message) for message in messages if '"OldestDueAge"' in message]
    if not health:
        raise Failed("a tick that reads all shards", "its log has no OldestDueAge")
    return ""
