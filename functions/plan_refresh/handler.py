"""PlanRefreshFunction: every minute, sends messages for each work unit that is due.

schedule → rows of the index `by-due` that are due when the minute is over, shard by shard → the
earliest deadlines of all → refresh queue, to be delivered then; most work units a second time half
a minute later. Then the runs whose heartbeats have stopped become lost (`lost_runs`). A tick that
runs twice, late or beside another one finds nothing left to do, and so do its messages.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import code_name, dynamodb, error_name, sqs
from byline.metrics import Metrics, failing_without_text
from byline.refresh.token_rows import DUE_INDEX, TokenRow, UnreadableRow, read_token_row
from byline.refresh.work_units import message_body, shards
from byline.settings import required, whole_number
from plan_refresh.lost_runs import LostRuns
from plan_refresh.planning import (
    PLANNED_SECONDS,
    REPEAT_SECONDS,
    PlannedUnit,
    TokenHealth,
    planned_units,
    scheduled_time,
    token_health,
    work_begins,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

MESSAGES_A_CALL = 10
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html"""

MARK_MILLISECONDS = 20_000
"""The time that a mark of a lost run, or the query before it, may need: three attempts of a call
that is not answered. A tick with less time begins none."""

WORKERS = 2
"""How many instances of RefreshTokensFunction its event source invokes at once."""


def build(environ: Mapping[str, str]) -> Callable[[dict[str, Any], LambdaContext], dict[str, int]]:
    """PlanRefreshFunction's handler, with its clients and settings.

    Raises `Misconfigured` where a variable is missing or wrong.
    """
    writes_per_second = WORKERS * whole_number(environ, "WRITES_PER_SECOND", default=20, least=1)
    planner = Planner(
        table=required(environ, "RUNNERS_TABLE"),
        queue_url=required(environ, "REFRESH_QUEUE_URL"),
        writes=writes_per_second * PLANNED_SECONDS,
        lost_runs=LostRuns(
            client=dynamodb(),
            runs_table=required(environ, "RUNS_TABLE"),
            access_table=required(environ, "ACCESS_TABLE"),
            audit_retention_days=whole_number(environ, "AUDIT_RETENTION_DAYS", default=0, least=0),
            logger=Logger(service="byline"),
        ),
        dynamodb=dynamodb(),
        sqs=sqs(),
        metrics=Metrics(required(environ, "POWERTOOLS_SERVICE_NAME")),
        logger=Logger(service="byline"),
    )
    return failing_without_text(planner.tick)


def report_health(metrics: Metrics, health: TokenHealth) -> None:
    """Write `health` into the metrics of a tick."""
    metrics.report("OldestDueAge", health.oldest_due_age, MetricUnit.Seconds)
    if health.least_life is not None:
        metrics.report("LeastRemainingLife", health.least_life, MetricUnit.Seconds)
    metrics.report("TokensWithinMargin", health.within_margin)
    metrics.report("TokensExpired", health.expired)
    metrics.report("TokensWaiting", health.waiting_for_first)
    metrics.report("MostWritesPerSecret", health.most_writes_per_secret)
    metrics.report("DueUnits", health.due_units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Carries out a tick. `writes`: the most tokens that one tick may have replaced."""

    table: str
    queue_url: str
    writes: int
    lost_runs: LostRuns
    dynamodb: "DynamoDBClient"
    sqs: "SQSClient"
    metrics: Metrics
    logger: Logger

    def tick(self, event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
        """Plan one minute. Returns the number of work units that messages were sent for.

        Then mark the runs whose heartbeats have stopped. Raises where a shard could not be read, a
        message not sent or a run not marked, after all others were.
        """
        self.logger.append_keys(request_id=context.aws_request_id)
        now = int(time.time())
        begins = work_begins(scheduled=scheduled_time(event), now=now)
        rows: list[TokenRow] = []
        unread: list[Exception] = []
        for shard in shards():
            try:
                rows += self._due(shard, by=begins)
            except (ClientError, BotoCoreError) as error:
                self.logger.error("shard not read", shard=shard, error=error_name(error))
                unread.append(error)
        units = planned_units(
            (row for row in rows if row.try_at is not None and row.try_at <= begins),
            now=begins,
            writes=self.writes,
        )
        unsent = self._send(units, begins=begins, now=now)
        self.metrics.count("Ticks")
        if not unread:  # Rows that were not read must not be reported as healthy.
            report_health(self.metrics, token_health(rows, now=now))
        # Before the marks: a tick that they hold up has planned all tokens and says so.
        self.metrics.flush()
        unmarked = self.lost_runs.mark(
            now=time.time(),
            request_id=context.aws_request_id,
            may_go_on=lambda: context.get_remaining_time_in_millis() > MARK_MILLISECONDS,
        )
        if failures := [*unread, *unsent, *unmarked]:
            raise failures[0]
        return {"units": len(units)}

    def _due(self, shard: str, *, by: int) -> Iterator[TokenRow]:
        """The shard's rows that are due at `by`, and the row that is due next."""
        due = self._query(shard, "due_at <= :by", by=by)
        while True:
            page = self.dynamodb.query(**due)
            yield from self._readable(page["Items"])
            if "LastEvaluatedKey" not in page:
                break
            due["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        next_due = self._query(shard, "due_at > :by", by=by)
        next_due["Limit"] = 1
        yield from self._readable(self.dynamodb.query(**next_due)["Items"])

    def _query(self, shard: str, due_at: str, *, by: int) -> "QueryInputTypeDef":
        return {
            "TableName": self.table,
            "IndexName": DUE_INDEX,
            "KeyConditionExpression": f"#shard = :shard AND {due_at}",
            "ExpressionAttributeNames": {"#shard": "shard"},
            "ExpressionAttributeValues": {":shard": {"S": shard}, ":by": {"N": str(by)}},
        }

    def _readable(self, items: list[Any]) -> Iterator[TokenRow]:
        for item in items:
            try:
                yield read_token_row(item)
            except UnreadableRow as unreadable:
                # One row that was changed by hand must not stop the refresh of all others.
                self.logger.error("row not readable", row=str(unreadable))
                self.metrics.count("UnreadableRow")

    def _send(self, units: list[PlannedUnit], *, begins: int, now: int) -> list[Exception]:
        """Send the messages of `units`, to be delivered when the work `begins`; the failures."""
        failures: list[Exception] = []
        for entries in batched(
            _entries(units, begins=begins, now=now), MESSAGES_A_CALL, strict=False
        ):
            try:
                answer = self.sqs.send_message_batch(QueueUrl=self.queue_url, Entries=entries)
            except (ClientError, BotoCoreError) as error:
                self.logger.error("messages not sent", error=error_name(error))
                failures.append(error)
                continue
            for failed in answer.get("Failed", []):
                code = code_name(failed["Code"])
                self.logger.error("message not sent", error=code)
                failures.append(RuntimeError(f"message not sent: {code}"))
        return failures


def _entries(
    units: list[PlannedUnit], *, begins: int, now: int
) -> "Iterator[SendMessageBatchRequestEntryTypeDef]":
    """The first messages, the most urgent first, then the second messages, half a minute later."""
    for number, planned in enumerate(units):
        yield {
            "Id": str(number),
            "MessageBody": message_body(planned.work_unit, deadline=planned.up_to),
            # A standard queue shares its consumers fairly between groups.
            "MessageGroupId": planned.work_unit.project,
            "DelaySeconds": begins - now,
        }
    for number, planned in enumerate(units):
        if planned.repeat_up_to is not None:
            yield {
                "Id": f"again-{number}",
                "MessageBody": message_body(
                    planned.work_unit, deadline=planned.repeat_up_to, due_by=begins
                ),
                "MessageGroupId": planned.work_unit.project,
                "DelaySeconds": begins - now + REPEAT_SECONDS,
            }


handler = build(os.environ)
