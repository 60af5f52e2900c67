"""The message to the refresher about a runner that is due at once, before the next tick."""

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name, sqs
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import message_body

DELAY_SECONDS = 1
"""A worker finds due runners by an index, which is updated within a second after the table. Without
the delay a worker could miss the runner, which would then wait for the next tick."""

logger = Logger(service="byline")


def announce(row: RunnerRow, *, queue_url: str) -> None:
    """Send a message for the work unit of `row`, after the row is written. It holds no token.

    The message names the runner's deadline, so that later deadlines of the unit wait for their
    tick. A failure is logged and not raised: the row is due, so the next tick sends a message too.
    """
    unit = row.work_unit
    try:
        sqs().send_message(
            QueueUrl=queue_url,
            MessageBody=message_body(unit, deadline=row.deadline),
            DelaySeconds=DELAY_SECONDS,
            # A standard queue shares its consumers fairly between message groups.
            MessageGroupId=unit.project,
        )
    except (ClientError, BotoCoreError) as error:
        logger.warning("message not sent", error=error_name(error))
