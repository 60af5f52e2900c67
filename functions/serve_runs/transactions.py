"""Writing several rows at once or none of them.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from byline.tables.items import Item
from serve_runs.web.problems import unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 4
WAIT_SECONDS = 0.05
"""At most so long before the second attempt, and twice as long before each further one."""

_IN_THE_WAY = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})
"""Why a transaction was cancelled that may go through later. botocore does not try these again."""


def write_together(
    client: "DynamoDBClient",
    actions: "list[TransactWriteItemTypeDef]",
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Item | None:
    """Do all of `actions` or none: None when done, else the row that stood in the first's way.

    botocore sends a `ClientRequestToken`, so its own retries do nothing twice. Raises `Problem` 503
    where other requests keep changing the same rows.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(random.uniform(0, WAIT_SECONDS * 2 ** (attempt - 1)))  # noqa: S311 - to spread
        try:
            client.transact_write_items(TransactItems=actions)
        except client.exceptions.TransactionCanceledException as error:
            reasons = error.response["CancellationReasons"]
            if reasons[0].get("Code") == "ConditionalCheckFailed":
                return cast(Item, reasons[0].get("Item", {}))
            if not any(reason.get("Code") in _IN_THE_WAY for reason in reasons):
                raise
        else:
            return None
    raise unavailable("store_unavailable", "Other requests are changing it at the same time.")
