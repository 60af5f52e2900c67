"""Sample events of the refresh functions: a tick of the schedule, and a work unit."""

import json
from collections.abc import Mapping
from hashlib import md5
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"
AT = "2026-11-02T08:00:00Z"
AT_MILLISECONDS = "1793606400000"


def tick() -> Mapping[str, Any]:
    """The event of PlanRefreshFunction's schedule, with the template's input.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    return {"scheduled_at": AT}


def scheduled_event(name: str) -> Mapping[str, Any]:
    """The event of a schedule without an input of its own.

    https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html
    """
    return {
        "version": "0",
        "id": "0b7a9d42-6f1c-4b7e-8e53-1f0f6f2f4c11",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": ACCOUNT,
        "time": AT,
        "region": REGION,
        "resources": [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}"],
        "detail": "{}",
    }


def refresh_unit(shard: str, *, project: str) -> Mapping[str, Any]:
    """A batch of one message for RefreshTokensFunction, as Lambda delivers it.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event
    """
    body = json.dumps({"shard": shard, "project": project}, separators=(",", ":"))
    record = {
        "messageId": "5f0c2d7e-2a3b-4b64-9a3b-1f6c0b1f7f42",
        "receiptHandle": "of-a-sample",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": AT_MILLISECONDS,
            "SenderId": ACCOUNT,
            "ApproximateFirstReceiveTimestamp": AT_MILLISECONDS,
            "MessageGroupId": project,
        },
        "messageAttributes": {},
        # SQS's own checksum, which protects nothing.
        "md5OfBody": md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:RefreshQueue",
        "awsRegion": REGION,
    }
    return {"Records": [record]}
