"""The settings in `template.yaml` that decide how planner and workers run."""

from dataclasses import dataclass
from functools import cache

from tests.template.stack import properties, template


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """How RefreshTokensFunction runs: `workers` at once, with `batch` messages an invocation.

    `writes_per_second` is each worker's limit. `time_limit` of an invocation and `visibility`
    (the time for which a received message is invisible) are in seconds.
    """

    workers: int
    writes_per_second: int
    batch: int
    time_limit: float
    visibility: float


@cache
def deployed() -> Deployment:
    """The settings of `template.yaml`."""
    function = properties("AWS::Lambda::Function", "RefreshTokensFunction")
    source = properties("AWS::Lambda::EventSourceMapping", "RefreshTokensFunctionUnits")
    return Deployment(
        workers=source["ScalingConfig"]["MaximumConcurrency"],
        writes_per_second=template()["Parameters"]["WritesPerSecond"]["Default"],
        batch=source["BatchSize"],
        time_limit=function["Timeout"],
        visibility=properties("AWS::SQS::Queue", "RefreshQueue")["VisibilityTimeout"],
    )
