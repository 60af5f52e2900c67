"""PlanRefreshFunction and RefreshTokensFunction as Lambda runs them, with their queue."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from byline.aws import dynamodb, secrets_manager, sqs, sts
from byline.refresh.work_units import WorkUnit
from plan_refresh.handler import build as build_planner
from refresh_tokens.handler import build as build_worker
from stand_ins.clock import Clock
from tests.refresh.world import TABLE, World
from tests.runs.runs_api import log_to_standard_output
from tests.runs.table_server import ACCESS_TABLE
from tests.runs.table_server import TABLE as RUNS_TABLE

BATCH = 10


class RealTime(Clock):
    """The real clock, for the functions and for the stand-ins."""

    def __call__(self) -> float:
        return time.time()


@dataclass(frozen=True, slots=True)
class Context:
    """The members of Lambda's context that are used."""

    ends_at: float
    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    function_name: str = "RefreshTokensFunction"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:Refresh"

    def get_remaining_time_in_millis(self) -> int:
        return int((self.ends_at - time.time()) * 1000)


@dataclass
class Deployment:
    """Both functions in one environment, and the queue between them."""

    world: World
    queue_url: str
    worker: Callable[[dict[str, Any], Any], dict[str, Any]]
    planner: Callable[[dict[str, Any], Any], dict[str, int]]

    def tick(self, *, seconds: float = 50, **event: str) -> dict[str, int]:
        """One tick with this event; without a scheduled time it is for now.

        `seconds`: the time that it has.
        """
        return self.planner(event, Context(time.time() + seconds))

    def invoke(self, records: Sequence[dict[str, Any]], *, seconds: float = 60) -> list[str]:
        """Invoke the worker with a batch of messages; returns the ids that it gives back."""
        event = json.loads(json.dumps({"Records": records}))
        answer = self.worker(event, Context(time.time() + seconds))
        json.dumps(answer)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def work_off(self, *, times_each: int = 1) -> list[str]:
        """Deliver all visible messages, each `times_each` times; returns the ids that failed."""
        failed: list[str] = []
        while messages := self.receive():
            for _ in range(times_each):
                failed += self.invoke([sqs_record(message["Body"]) for message in messages])
        return failed

    def receive(self) -> list[dict[str, Any]]:
        """Receive and delete up to a batch of visible messages."""
        client = self.world.aws.observer("sqs")
        answer = client.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=BATCH)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        for message in messages:
            client.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    def sent(self) -> list[dict[str, Any]]:
        """The documents of all messages that the functions sent, singly or in batches."""
        return [
            entry
            for call in self.world.aws.calls
            if call.operation in {"SendMessage", "SendMessageBatch"}
            for entry in call.document.get("Entries", [call.document])
        ]


def sqs_record(body: str) -> dict[str, Any]:
    """A message as the event source delivers it."""
    return {
        "messageId": str(uuid4()),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "MessageGroupId": "payments"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:RefreshQueue",
        "awsRegion": "us-east-1",
    }


def message_of(unit: WorkUnit, *, deadline: int | None = None) -> dict[str, Any]:
    """A record that names a work unit."""
    document = {"shard": unit.shard, "project": unit.project, "deadline": deadline}
    return sqs_record(json.dumps({k: v for k, v in document.items() if v is not None}))


@contextmanager
def deployed(world: World, **changes: str) -> Iterator[Deployment]:
    """The functions after a cold start, with the world as AWS, until the block ends."""
    queue = world.aws.observer("sqs").create_queue(QueueName="RefreshQueue")
    environ = {
        "RUNNERS_TABLE": TABLE,
        "RUNS_TABLE": RUNS_TABLE,
        "ACCESS_TABLE": ACCESS_TABLE,
        "REFRESH_QUEUE_URL": queue["QueueUrl"],
        "WRITES_PER_SECOND": "1000",
        "SECRET_PREFIX": world.names.prefix,
        "POWERTOOLS_SERVICE_NAME": "stage",
        **changes,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", world.aws.url)
        forget_clients()
        try:
            planner, worker = build_planner(environ), build_worker(environ)
            log_to_standard_output()
            yield Deployment(world, queue["QueueUrl"], worker, planner)
        finally:
            forget_clients()


def forget_clients() -> None:
    """Drop the cached clients of AWS, which belong to another endpoint."""
    for client in (dynamodb, sqs, secrets_manager, sts):
        client.cache_clear()
