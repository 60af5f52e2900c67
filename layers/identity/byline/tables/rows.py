"""Rows of DynamoDB: their items, built and read by hand, and conditional writes of them.

By hand takes 5 µs an item, boto3's serializer 34. Running a write twice is harmless. A conflict
with another writer is tried again after a jittered wait; a condition that does not hold is named.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from byline.retries import jittered_wait

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

type Item = "dict[str, AttributeValueTypeDef]"

WRITE_ATTEMPTS = 4
WAIT_SECONDS = 0.05

_PASSING = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})
"""Why a transaction is cancelled that may succeed later. botocore does not try these again."""

type Refused = Mapping[str, Item]
"""The actions whose conditions did not hold, by name, each with the row that was found.

The row is empty where no row exists, and where the action did not ask for it
(`ReturnValuesOnConditionCheckFailure`)."""


class ConditionFailed(Exception):
    """The row is not what the condition demands. Nothing was written."""


class Contended(Exception):
    """Other requests keep changing the same rows. Nothing was written; a retry may succeed."""


def attributes(values: dict[str, Any]) -> Item:
    """Text, integers and objects of them as attributes; a value of None is left out."""
    return {name: _attribute(value) for name, value in values.items() if value is not None}


def values_of(item: Item) -> dict[str, Any]:
    """The reverse of `attributes`. Attributes of other types are left out.

    Raises `ValueError` for a number that is no integer.
    """
    values: dict[str, Any] = {}
    for name, attribute in item.items():
        if "S" in attribute:
            values[name] = attribute["S"]
        elif "N" in attribute:
            values[name] = int(attribute["N"])
        elif "M" in attribute:
            values[name] = values_of(dict(attribute["M"]))
    return values


def text_of(item: Item, name: str) -> str | None:
    """The text of an attribute; None where the attribute is absent or no text."""
    return item.get(name, {}).get("S")


def rfc3339(at: float) -> str:
    """`at`, seconds since the epoch, in UTC with milliseconds: 2026-11-22T16:20:11.123Z.

    RFC 3339, section 5.6.
    """
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def write_together(
    client: "DynamoDBClient",
    actions: "Mapping[str, TransactWriteItemTypeDef]",
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Refused:
    """Carry out all named `actions`, or none; returns those whose conditions did not hold.

    An empty answer means that all are done. botocore sends a `ClientRequestToken`, so a call that
    it repeats by itself is carried out once. Raises `Contended`, and
    `TransactionCanceledException` where DynamoDB cancels for another reason.
    """
    for failures in range(WRITE_ATTEMPTS):
        if failures:
            sleep(jittered_wait(failures, base_seconds=WAIT_SECONDS))
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
    """Carry out `write`, one conditional put, update or delete, and return DynamoDB's answer.

    botocore repeats a call whose answer was lost, and then the condition sees the first call's own
    effect: `write` must accept it (`OR owner = :me`), or the caller must compare the row.
    Raises `ConditionFailed` and `Contended`.
    """
    for failures in range(WRITE_ATTEMPTS):
        if failures:
            sleep(jittered_wait(failures, base_seconds=WAIT_SECONDS))
        try:
            return write()
        except client.exceptions.ConditionalCheckFailedException:
            raise ConditionFailed from None
        except client.exceptions.TransactionConflictException:
            continue
    raise Contended


def _attribute(value: Any) -> "AttributeValueTypeDef":
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"M": attributes(value)}
