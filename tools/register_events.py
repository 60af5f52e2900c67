"""Sample events of RegisterResourcesFunction: changes of the table, a pass, and a backfill."""

from collections.abc import Mapping, Sequence
from typing import Any

from tools.refresh_events import ACCOUNT, AT_MILLISECONDS, REGION, scheduled_event

TABLE = "RunsTable"


def changes(runs: Sequence[str], *, project: str) -> Mapping[str, Any]:
    """A batch of the table's stream, as Lambda delivers it.

    https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    """
    return {
        "Records": [
            record_of(project=project, run_id=run, number=f"11000000000174544230{number:02}")
            for number, run in enumerate(runs, start=9)
        ]
    }


def record_of(*, project: str, run_id: str, number: str) -> Mapping[str, Any]:
    """The record of a new row: of a run, or of a tombstone if `project` is `deleted#…`."""
    keys = {"project": {"S": project}, "id": {"S": run_id}}
    since = "2026-11-02T08:00:00.000Z"
    entry = {"unregistered": {"S": run_id[-1]}, "unregistered_since": {"S": since}}
    return {
        "eventID": f"change-{number}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": int(AT_MILLISECONDS) / 1000,
            "Keys": keys,
            "NewImage": {**keys, **entry},
            "SequenceNumber": number,
            "SizeBytes": 118,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": (
            f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLE}/stream/2026-11-02T08:00:00.000"
        ),
    }


def a_pass() -> Mapping[str, Any]:
    """The event of EventBridge Scheduler. The function reads nothing of it."""
    return scheduled_event("RegisterResourcesFunctionPass")


def backfill() -> Mapping[str, Any]:
    """The event of `make backfill`."""
    return {"backfill": True}
