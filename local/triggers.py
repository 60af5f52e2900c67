"""The triggers of the template's functions beside the load balancer: queues, streams, schedules."""

import json
import re
from dataclasses import dataclass

from local.template import Json, Template

_SECONDS = {"minute": 60.0, "minutes": 60.0, "hour": 3600.0, "hours": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSource:
    """An event source mapping of a queue: `queue` and `function` are logical ids.

    `concurrency`: the largest number of concurrent invocations; 1 if the template sets no limit.
    """

    function: str
    queue: str
    batch_size: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSource:
    """An event source mapping of a table's stream. One of `filters` must match a record."""

    function: str
    table: str
    batch_size: int
    retries: int
    filters: tuple[Json, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The schedule `name`, which invokes `function` every `seconds`.

    `input`: the function's event as JSON text; None for the scheduler's own event.
    """

    name: str
    function: str
    seconds: float
    input: str | None = None


def queue_sources(template: Template) -> list[QueueSource]:
    """The template's event source mappings of queues."""
    return [
        QueueSource(
            function=body["Properties"]["FunctionName"]["Ref"],
            queue=body["Properties"]["EventSourceArn"]["Fn::GetAtt"][0],
            batch_size=body["Properties"].get("BatchSize", 10),
            concurrency=body["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency", 1),
        )
        for body in _mappings(template, of="Arn")
    ]


def stream_sources(template: Template) -> list[StreamSource]:
    """The template's event source mappings of streams."""
    return [
        StreamSource(
            function=body["Properties"]["FunctionName"]["Ref"],
            table=body["Properties"]["EventSourceArn"]["Fn::GetAtt"][0],
            batch_size=body["Properties"]["BatchSize"],
            retries=body["Properties"]["MaximumRetryAttempts"],
            filters=tuple(
                json.loads(each["Pattern"])
                for each in body["Properties"]["FilterCriteria"]["Filters"]
            ),
        )
        for body in _mappings(template, of="StreamArn")
    ]


def _mappings(template: Template, *, of: str) -> list[Json]:
    mappings = template.resources("AWS::Lambda::EventSourceMapping").values()
    return [
        body for body in mappings if body["Properties"]["EventSourceArn"]["Fn::GetAtt"][1] == of
    ]


def schedules(template: Template) -> list[Schedule]:
    """The template's schedules. Raises `ValueError` for a schedule without a rate."""
    return [
        Schedule(
            name=name,
            function=body["Properties"]["Target"]["Arn"]["Fn::GetAtt"][0],
            seconds=_seconds(body["Properties"]["ScheduleExpression"]),
            input=body["Properties"]["Target"].get("Input"),
        )
        for name, body in template.resources("AWS::Scheduler::Schedule").items()
    ]


def _seconds(expression: str) -> float:
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#rate-based"""
    match = re.fullmatch(r"rate\((\d+) (\w+)\)", expression)
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"{expression} is not a rate in minutes or hours")
    return int(match[1]) * _SECONDS[match[2]]
