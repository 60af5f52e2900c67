"""Registers all pending runs, including those that the authorization service has refused.

    python -m tools.backfill

invokes RegisterResourcesFunction of the deployed stack `STACK` (by default `byline`), with the
credentials and region of the environment. If `LOCAL_AUTHORIZATION_SERVICE_URL` is set, it runs the
function for the stack of `make up` on this machine. Ends with status 1 if any registration is left.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import boto3
from botocore.config import Config

from local.aws import CREDENTIALS, ROOT
from local.lambda_runtime import Function, FunctionHost
from tools.register_events import backfill as event

FUNCTION = "RegisterResourcesFunction"
SECONDS = 120
"""The function's time limit in the template."""

type Answer = Mapping[str, int]
type Invoke = Callable[[Mapping[str, object]], Answer]


def backfill(invoke: Invoke, *, say: Callable[[str], object]) -> int:
    """Invoke until no registration is pending or the number stops falling. Returns the number."""
    before: int | None = None
    while True:
        answer = invoke(event())
        pending = answer["pending"]
        say(
            f"registered {answer['registered']}, deregistered {answer['deregistered']},"
            f" {pending} pending"
        )
        if pending == 0 or (before is not None and pending >= before):
            return pending
        before = pending


def deployed(stack: str) -> Invoke:
    """Invokes the function of a stack on AWS. Raises `RuntimeError` if the function fails."""
    resources = boto3.client("cloudformation")
    found = resources.describe_stack_resource(StackName=stack, LogicalResourceId=FUNCTION)
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    # A repeated invocation has no use: the next one goes on where this one stopped.
    once = Config(read_timeout=SECONDS + 10, retries={"total_max_attempts": 1})
    functions = boto3.client("lambda", config=once)

    def invoke(event: Mapping[str, object]) -> Answer:
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        if "FunctionError" in answer:
            raise RuntimeError(f"{name} failed. Its log has the error.")
        document: Answer = json.loads(answer["Payload"].read())
        return document

    return invoke


@contextmanager
def on_this_machine(service: str, *, aws: str) -> Iterator[Invoke]:
    """Invokes the function in a process of this machine, with the AWS endpoint at `aws`."""
    function = Function(
        name=FUNCTION,
        handler="register_resources.handler.handler",
        code=(ROOT / "functions", ROOT / "layers/identity"),
        environment={
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": aws,
            "RUNS_TABLE": "RunsTable",
            "AUTHORIZATION_SERVICE_URL": service,
            "POWERTOOLS_SERVICE_NAME": "byline",
            "POWERTOOLS_METRICS_NAMESPACE": "Byline",
        },
        timeout_seconds=SECONDS,
    )
    with FunctionHost(function) as host:
        yield host.invoke


def main() -> int:
    """Make the backfill. Returns the exit status."""
    service = os.environ.get("LOCAL_AUTHORIZATION_SERVICE_URL", "")
    if not service:
        return min(1, backfill(deployed(os.environ.get("STACK") or "byline"), say=print))
    port = int(os.environ.get("LOCAL_PORT") or "8080") + 2
    with on_this_machine(service, aws=f"http://127.0.0.1:{port}") as invoke:
        return min(1, backfill(invoke, say=print))


if __name__ == "__main__":
    sys.exit(main())
