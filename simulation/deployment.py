"""How planner and workers are run: what `template.yaml` and the handlers decide."""

from dataclasses import dataclass, replace
from functools import cache

from refresh_tokens.refresher import UNITS_AT_ONCE
from tests.template.stack import properties, template


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Times in seconds.

    `units_at_once`: how many of its batch an invocation has under way. `on_the_minute`: whether a
    tick's work begins then, or when the tick comes. `sent_twice`: whether a unit has a second
    message. `bounded`: whether a tick is for as many runners as there is time for, or for all that
    are due. `sent_again`: whether what an invocation has no time for is sent to the queue anew, or
    waits for the next tick.
    """

    workers: int
    writes_per_second: int
    batch: int
    time_limit: float
    visibility: float
    units_at_once: int = UNITS_AT_ONCE
    on_the_minute: bool = True
    sent_twice: bool = True
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
        "when the tick comes": replace(ours, on_the_minute=False),
        "one message for a unit": replace(ours, sent_twice=False),
        "neither minute nor second message": replace(ours, on_the_minute=False, sent_twice=False),
        "no bound for a tick, what is left sent again": replace(
            ours, bounded=False, sent_again=True
        ),
    }
