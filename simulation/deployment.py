"""How planner and workers are run: what `template.yaml` and the handlers decide."""

from dataclasses import dataclass, replace
from functools import cache

from tests.template.stack import properties, template
from unit_turns import UNITS_AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Times in seconds.

    `units_at_once`: how many of its batch an invocation has under way. `bounded`: whether a tick is
    for as many runners as there is time for, or for all that are due. `sent_again`: whether what an
    invocation has no time for is sent to the queue anew, or waits for the next tick.
    """

    workers: int
    writes_per_second: int
    batch: int
    time_limit: float
    visibility: float
    units_at_once: int = UNITS_AT_ONCE
    bounded: bool = True
    sent_again: bool = False


@cache
def deployed() -> Deployment:
    """As `template.yaml` has it."""
    function = properties("AWS::Serverless::Function", "RefreshTokensFunction")
    source = function["Events"]["Units"]["Properties"]
    return Deployment(
        workers=source["ScalingConfig"]["MaximumConcurrency"],
        writes_per_second=template()["Parameters"]["WritesPerSecond"]["Default"],
        batch=source["BatchSize"],
        time_limit=function["Timeout"],
        visibility=properties("AWS::SQS::Queue", "RefreshQueue")["VisibilityTimeout"],
    )


def variants() -> dict[str, Deployment]:
    """What each decision is worth: all of them, and all but one."""
    ours = deployed()
    return {
        "as deployed": ours,
        "one unit at a time": replace(ours, units_at_once=1),
        "no bound for a tick": replace(ours, bounded=False),
        "what is left is sent again": replace(ours, sent_again=True),
        "neither bound nor wait": replace(ours, bounded=False, sent_again=True),
    }
