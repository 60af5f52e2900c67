"""What invokes the template's functions beside the load balancer: queues and schedules."""

import re
from dataclasses import dataclass

from local.template import Template

_SECONDS = {"minute": 60.0, "minutes": 60.0, "hour": 3600.0, "hours": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSource:
    """An event source mapping: `queue` and `function` by their logical ids.

    `concurrency`: how many invocations at once; 1 where the template sets no limit.
    """

    function: str
    queue: str
    batch_size: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule named `name` that invokes `function` every so many `seconds`."""

    name: str
    function: str
    seconds: float


def queue_sources(template: Template) -> list[QueueSource]:
    """The event source mappings of `template`, which are all of queues."""
    return [
        QueueSource(
            function=body["Properties"]["FunctionName"]["Ref"],
            queue=body["Properties"]["EventSourceArn"]["Fn::GetAtt"][0],
            batch_size=body["Properties"].get("BatchSize", 10),
            concurrency=body["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency", 1),
        )
        for body in template.resources("AWS::Lambda::EventSourceMapping").values()
    ]


def schedules(template: Template) -> list[Schedule]:
    """The schedules of `template`. Raises `ValueError` for one that has no rate."""
    return [
        Schedule(
            name=name,
            function=body["Properties"]["Target"]["Arn"]["Fn::GetAtt"][0],
            seconds=_seconds(body["Properties"]["ScheduleExpression"]),
        )
        for name, body in template.resources("AWS::Scheduler::Schedule").items()
    ]


def _seconds(expression: str) -> float:
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#rate-based"""
    match = re.fullmatch(r"rate\((\d+) (\w+)\)", expression)
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"{expression} is no rate of minutes or hours")
    return int(match[1]) * _SECONDS[match[2]]
