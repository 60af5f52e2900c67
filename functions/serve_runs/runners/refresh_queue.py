"""The message to the refresher about a token that is due at once, before the next tick."""

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name, sqs
from byline.refresh.timing import TICK_SECONDS
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import message_body

DELAY_SECONDS = 1
"""A worker finds due tokens by an index, which is updated within a second after the table. Without
the delay a worker could miss the token, which would then wait for the next tick."""

logger = Logger(service="byline")


def announce(token: TokenRow, *, queue_url: str, now: float) -> None:
    """Send a message for the token's work unit, after its row is written. It holds no token.

    Nothing is sent for a token that is due later than the next tick. The message arrives when the
    token is due, and names its deadline, so that later deadlines of the unit wait for their tick.
    A failure is logged and not raised: the row is due, so the next tick sends a message too.
    """
    if token.try_at is None or token.try_at > now + TICK_SECONDS:
        return
    unit = token.work_unit
    try:
        sqs().send_message(
            QueueUrl=queue_url,
            MessageBody=message_body(unit, deadline=token.deadline),
            DelaySeconds=DELAY_SECONDS + max(0, token.try_at - int(now)),
            # A standard queue shares its consumers fairly between message groups.
            MessageGroupId=unit.project,
        )
    except (ClientError, BotoCoreError) as error:
        logger.warning("message not sent", error=error_name(error))
