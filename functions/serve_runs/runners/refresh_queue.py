"""Telling the refresher that a runner has work for it, so that it does not wait for the tick."""

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name, sqs
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import message_body

DELAY_SECONDS = 1
"""A worker finds what is due by an index, which follows the table within a second: one that came
sooner would find nothing, and the runner would wait for the tick after all."""

logger = Logger(service="byline")


def announce(row: RunnerRow, *, queue_url: str) -> None:
    """Send a message for the runner of `row`: names, never a token. After the row is written.

    It names the runner's deadline, so that what else is due in its unit waits for its turn. Best
    effort: the row is due, so the next tick sends the same.
    """
    unit = row.work_unit
    try:
        sqs().send_message(
            QueueUrl=queue_url,
            MessageBody=message_body(unit, deadline=row.deadline),
            DelaySeconds=DELAY_SECONDS,
            # A standard queue shares its consumers fairly between groups.
            MessageGroupId=unit.project,
        )
    except (ClientError, BotoCoreError) as error:
        logger.warning("message not sent", error=error_name(error))
