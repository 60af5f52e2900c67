"""Registers the runners of the sample events in the table of the local stack.

    python -m tools.sample_runners

with the environment of RunsFunction, and its folder and the layer's on `PYTHONPATH`. The refresher
gives them tokens as it does to any other.
"""

import os
import time
from typing import TYPE_CHECKING

from byline.aws import dynamodb
from byline.identity.caller import Caller
from serve_runs.audit.trail import ActionContext, AuditTrail
from serve_runs.runners.changes import Runner
from serve_runs.runners.refresh_queue import announce
from serve_runs.runners.requests import RegisterRunner, RunnerRegistration
from serve_runs.runners.store import RunnerStore
from tools.make_events import PROJECT, SAMPLE_RUNNERS, SAMPLE_RUNNERS_CLIENT
from tools.sample_tokens import ISSUER

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_OPERATOR = Caller(
    kind="application",
    source="bearer",
    issuer=ISSUER,
    subject=SAMPLE_RUNNERS_CLIENT,
    token_subject=SAMPLE_RUNNERS_CLIENT,
    name=SAMPLE_RUNNERS_CLIENT,
)


def seed(client: "DynamoDBClient", table: str, access_table: str) -> list[Runner]:
    """Register the sample runners in `table`, with their audit records. They share one token."""
    audit = AuditTrail(client, access_table, now=time.time)
    store = RunnerStore(client, table, audit=audit, now=time.time)
    return [
        store.register(
            RunnerRegistration(
                project=PROJECT,
                runner=runner,
                body=RegisterRunner(client=SAMPLE_RUNNERS_CLIENT, subject=SAMPLE_RUNNERS_CLIENT),
                action=ActionContext(_OPERATOR, f"sample-{runner}"),
            ),
            permit=lambda *_: None,
        ).runner
        for runner in SAMPLE_RUNNERS
    ]


if __name__ == "__main__":
    runners = seed(dynamodb(), os.environ["RUNNERS_TABLE"], os.environ["ACCESS_TABLE"])
    announce(runners[-1].token, queue_url=os.environ["REFRESH_QUEUE_URL"], now=time.time())
