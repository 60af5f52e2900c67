"""Telling the refresher that a runner has work for it, so that it does not wait for the tick."""

import msgspec
from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name, sqs
from byline.refresh_units import Unit

DELAY_SECONDS = 1
"""A worker finds what is due by an index, which follows the table within a second: one that came
sooner would find nothing, and the runner would wait for the tick after all."""

logger = Logger(service="byline")


def announce(unit: Unit, *, queue_url: str) -> None:
    """Send a message for `unit`: names, never a token. After the row it is about is written.

    Best effort: the row is due, so the next tick sends the same.
    """
    try:
        sqs().send_message(
            QueueUrl=queue_url,
            MessageBody=msgspec.json.encode(unit).decode(),
            DelaySeconds=DELAY_SECONDS,
            # A standard queue shares its consumers fairly between groups.
            MessageGroupId=unit.project,
        )
    except (ClientError, BotoCoreError) as error:
        logger.warning("message not sent", error=error_name(error))
