"""Conditional writes of one row, or of several rows together.

A conflict with another writer is retried after a jittered wait. A condition that does not hold is
reported by the name of its action, and is not retried.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from byline.retries import attempts
from byline.tables.items import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

WRITE_ATTEMPTS = 4
WAIT_SECONDS = 0.05

_PASSING = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})
"""Cancellation reasons after which a retry may succeed. botocore does not retry these."""

type Refused = Mapping[str, Item]
"""The actions whose conditions did not hold, by name, each with the row that DynamoDB found.

The row is empty where no row exists, and where the action does not set
`ReturnValuesOnConditionCheckFailure`."""


class ConditionFailed(Exception):
    """The condition of a write does not hold for the row. Nothing was written."""


class Contended(Exception):
    """Other writers changed the same rows at every attempt. Nothing was written; retry later."""


def write_together(
    client: "DynamoDBClient",
    actions: "Mapping[str, TransactWriteItemTypeDef]",
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Refused:
    """Carry out all named `actions` or none, and return those whose conditions did not hold.

    An empty result means that all were carried out. A call whose answer was lost is repeated by
    botocore with the same `ClientRequestToken`, so DynamoDB carries it out once.
    Raises `Contended`, and `TransactionCanceledException` for any other reason, such as an item
    that is too large.
    """
    for _ in attempts(WRITE_ATTEMPTS, base_seconds=WAIT_SECONDS, sleep=sleep):
        try:
            client.transact_write_items(TransactItems=list(actions.values()))
        except client.exceptions.TransactionCanceledException as error:
            reasons = dict(zip(actions, error.response["CancellationReasons"], strict=False))
            refused = {
                name: cast(Item, reason.get("Item", {}))
                for name, reason in reasons.items()
                if reason.get("Code") == "ConditionalCheckFailed"
            }
            if refused:
                return refused
            if not any(reason.get("Code") in _PASSING for reason in reasons.values()):
                raise
        else:
            return {}
    raise Contended


def write_row[Answer](
    client: "DynamoDBClient",
    write: Callable[[], Answer],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Carry out `write`, one conditional put, update or delete, and return its result.

    botocore repeats a call whose answer was lost. The repeated condition then meets the row that
    the first call wrote. So the condition of `write` must accept that row (`OR owner = :me`), or
    the caller must compare the row after `ConditionFailed`.
    Raises `ConditionFailed` and `Contended`.
    """
    for _ in attempts(WRITE_ATTEMPTS, base_seconds=WAIT_SECONDS, sleep=sleep):
        try:
            return write()
        except client.exceptions.ConditionalCheckFailedException:
            raise ConditionFailed from None
        except client.exceptions.TransactionConflictException:
            continue
    raise Contended
