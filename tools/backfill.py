"""Registers all pending runs, including those that the authorization service has refused.

    python -m tools.backfill

invokes RegisterResourcesFunction of the deployed stack `STACK` (by default `byline`), with the
credentials and region of the environment. `PROJECTS` names projects whose runs from before
registration are registered too, separated by commas; `all` is every project. If
`LOCAL_AUTHORIZATION_SERVICE_URL` is set, it runs the function for the stack of `make up` on this
machine. Ends with status 1 if any registration is left.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from byline.names import is_name, naming_rule
from local.aws import CREDENTIALS, ROOT
from local.lambda_runtime import REGION, Function, FunctionHost
from tools.add_outbox_entries import add_outbox_entries
from tools.register_events import backfill as event

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

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
            f" revoked {answer['revoked']}, {pending} pending"
        )
        if pending == 0 or (before is not None and pending >= before):
            return pending
        before = pending


def physical_name(stack: str, resource: str) -> str:
    """The name of a resource of a stack on AWS."""
    found = boto3.client("cloudformation").describe_stack_resource(
        StackName=stack, LogicalResourceId=resource
    )
    return found["StackResourceDetail"]["PhysicalResourceId"]


def deployed(stack: str) -> Invoke:
    """Invokes the function of a stack on AWS. Raises `RuntimeError` if the function fails."""
    name = physical_name(stack, FUNCTION)
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


def add_entries(client: "DynamoDBClient", table: str, *, projects: str) -> int:
    """Add the missing outbox entries of `projects`, separated by commas, or of `all`.

    Returns their number. An empty text adds none. Raises `ValueError` for a malformed name.
    """
    names = {name.strip() for name in projects.split(",") if name.strip()}
    if not names:
        return 0
    if names == {"all"}:
        names = set()
    for name in sorted(names):
        if not is_name(name):
            raise ValueError(f"PROJECTS has {name!r}. {naming_rule(name, of='project')}")
    return add_outbox_entries(client, table, projects=names)


def main() -> int:
    """Make the backfill. Returns the exit status."""
    service = os.environ.get("LOCAL_AUTHORIZATION_SERVICE_URL", "")
    projects = os.environ.get("PROJECTS", "")
    if not service:
        stack = os.environ.get("STACK") or "byline"
        table = physical_name(stack, "RunsTable") if projects else ""
        print(f"added {add_entries(boto3.client('dynamodb'), table, projects=projects)} entries")
        return min(1, backfill(deployed(stack), say=print))
    aws = f"http://127.0.0.1:{int(os.environ.get('LOCAL_PORT') or '8080') + 2}"
    client = boto3.client(
        "dynamodb",
        endpoint_url=aws,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    print(f"added {add_entries(client, 'RunsTable', projects=projects)} entries")
    with on_this_machine(service, aws=aws) as invoke:
        return min(1, backfill(invoke, say=print))


if __name__ == "__main__":
    sys.exit(main())
