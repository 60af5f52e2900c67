"""PlanRefreshFunction: every minute, messages for each unit of work that is due.

schedule → rows of the sparse index that are due when the minute is over, shard by shard → the
earliest of them → queue, to be delivered then, and most a second time half a minute later. A tick
that comes twice, late or beside another one sends messages that find nothing left to do.
"""

import os
import time
from collections.abc import Iterator
from itertools import batched
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import dynamodb, error_name, sqs
from byline.refresh.messages import message_body
from byline.refresh.runner_rows import DUE_INDEX, RunnerRow, UnreadableRow, read_runner
from byline.refresh.work_units import shards
from byline.settings import required, whole_number
from plan_refresh import metrics as plan_sight
from plan_refresh.due_units import AGAIN_SECONDS, DueUnit, due_units, health
from plan_refresh.tick_share import SHARE_SECONDS
from plan_refresh.tick_time import scheduled_time, work_begins

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

MESSAGES_A_CALL = 10
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html"""

WORKERS = 2
"""As many of RefreshTokensFunction as its event source invokes at once."""

logger = Logger(service="byline")
table = required(os.environ, "RUNNERS_TABLE")
queue_url = required(os.environ, "REFRESH_QUEUE_URL")
writes_per_second = WORKERS * whole_number(os.environ, "WRITES_PER_SECOND", default=20, least=1)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """One tick. Raises where a shard could not be read or a message not sent, after the others."""
    logger.append_keys(request_id=context.aws_request_id)
    now = int(time.time())
    begins = work_begins(scheduled=scheduled_time(event), now=now)
    rows: list[RunnerRow] = []
    unread: list[Exception] = []
    for shard in shards():
        try:
            rows += _due(shard, by=begins)
        except (ClientError, BotoCoreError) as error:
            logger.error("shard not read", shard=shard, error=error_name(error))
            unread.append(error)
    units = due_units(
        (row for row in rows if row.due_at is not None and row.due_at <= begins),
        now=begins,
        writes=writes_per_second * SHARE_SECONDS,
    )
    unsent = _send(units, begins=begins, now=now)
    # What was not read is not told as healthy.
    plan_sight.report_tick(None if unread else health(rows, now=now))
    if failures := [*unread, *unsent]:
        raise failures[0]
    return {"units": len(units)}


def _due(shard: str, *, by: int) -> Iterator[RunnerRow]:
    """The shard's rows that are due `by` then, and the one that is due next."""
    due = _query(shard, "due_at <= :by", by=by)
    while True:
        page = dynamodb().query(**due)
        yield from _readable(page["Items"])
        if "LastEvaluatedKey" not in page:
            break
        due["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    next_due = _query(shard, "due_at > :by", by=by)
    next_due["Limit"] = 1
    yield from _readable(dynamodb().query(**next_due)["Items"])


def _query(shard: str, due_at: str, *, by: int) -> "QueryInputTypeDef":
    return {
        "TableName": table,
        "IndexName": DUE_INDEX,
        "KeyConditionExpression": f"#shard = :shard AND {due_at}",
        "ExpressionAttributeNames": {"#shard": "shard"},
        "ExpressionAttributeValues": {":shard": {"S": shard}, ":by": {"N": str(by)}},
    }


def _readable(items: list[Any]) -> Iterator[RunnerRow]:
    for item in items:
        try:
            yield read_runner(item)
        except UnreadableRow as unreadable:
            # One row that somebody spoiled by hand must not stop every other runner.
            logger.error("row not readable", row=str(unreadable))
            plan_sight.count_unreadable()


def _send(units: list[DueUnit], *, begins: int, now: int) -> list[Exception]:
    """Send a message for each unit, the most urgent first, to be delivered when work `begins`.

    Returns what failed.
    """
    failures: list[Exception] = []
    for entries in batched(_entries(units, begins=begins, now=now), MESSAGES_A_CALL, strict=False):
        try:
            answer = sqs().send_message_batch(QueueUrl=queue_url, Entries=entries)
        except (ClientError, BotoCoreError) as error:
            logger.error("messages not sent", error=error_name(error))
            failures.append(error)
            continue
        for failed in answer.get("Failed", []):
            logger.error("message not sent", error=failed["Code"])
            failures.append(RuntimeError(f"message not sent: {failed['Code']}"))
    return failures


def _entries(
    units: list[DueUnit], *, begins: int, now: int
) -> "Iterator[SendMessageBatchRequestEntryTypeDef]":
    """All messages, the most urgent first; then, later, those of the units that have a second."""
    for number, due in enumerate(units):
        yield {
            "Id": str(number),
            "MessageBody": message_body(due.unit, deadline=due.up_to),
            # A standard queue shares its consumers fairly between groups.
            "MessageGroupId": due.unit.project,
            "DelaySeconds": begins - now,
        }
    for number, due in enumerate(units):
        if due.again is not None:
            yield {
                "Id": f"again-{number}",
                "MessageBody": message_body(due.unit, deadline=due.again, due_by=begins),
                "MessageGroupId": due.unit.project,
                "DelaySeconds": begins - now + AGAIN_SECONDS,
            }
