"""Requests that services of AWS make with the template's roles, as its triggers need them.

The runtime writes logs and traces, Lambda polls queues and streams, the scheduler starts functions,
and all of them send what failed to its destination.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html
https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html
"""

from collections.abc import Iterator

from tests.permissions.evaluator import Request, of_role
from tests.permissions.policies import FUNCTION, arn, deployment, role_of_function
from tests.template.stack import Json

POLLS = {
    "sqs": ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"),
    "dynamodb": ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"),
}
"""What Lambda calls to poll a source, by the service of the source's ARN."""


def requests_of_aws() -> Iterator[Request]:
    """All of them."""
    stack = deployment()
    for name in stack.resources(FUNCTION):
        yield from _of_runtime(name)
    for name in stack.resources("AWS::Lambda::EventSourceMapping"):
        yield from _of_source(stack.properties(name))
    for name in stack.resources("AWS::Lambda::EventInvokeConfig"):
        failed = stack.properties(name)
        yield _failed(role_of_function(failed["FunctionName"]), failed["DestinationConfig"])
    for name in stack.resources("AWS::Scheduler::Schedule"):
        target = stack.properties(name)["Target"]
        role = target["RoleArn"].rpartition("/")[2]
        yield of_role(role, "lambda:InvokeFunction", target["Arn"])
        yield of_role(role, "sqs:SendMessage", target["DeadLetterConfig"]["Arn"])


def _of_runtime(function: str) -> Iterator[Request]:
    properties = deployment().properties(function)
    role, group = role_of_function(function), properties["LoggingConfig"]
    stream = arn("logs", f"log-group:{group['LogGroup']}:log-stream:2026/11/26/[1]a1b2")
    for action in ("CreateLogStream", "PutLogEvents"):
        yield of_role(role, f"logs:{action}", stream)
    if "TracingConfig" in properties:
        for action in ("PutTraceSegments", "PutTelemetryRecords"):
            yield of_role(role, f"xray:{action}", "*")


def _of_source(mapping: Json) -> Iterator[Request]:
    role, source = role_of_function(mapping["FunctionName"]), mapping["EventSourceArn"]
    service = source.split(":")[2]
    for action in POLLS[service]:
        # IAM knows no resource for ListStreams.
        resource = "*" if action == "ListStreams" else source
        yield of_role(role, f"{service}:{action}", resource)
    if "DestinationConfig" in mapping:
        yield _failed(role, mapping["DestinationConfig"])


def _failed(role: str, destinations: Json) -> Request:
    return of_role(role, "sqs:SendMessage", destinations["OnFailure"]["Destination"])
