"""Rows of DynamoDB's tables: as items, many read by their keys, and conditional writes.

Items are built and read by hand, which takes 5 µs an item; boto3's serializer takes 34.

A row is *absent* only where DynamoDB answered for its key without an item. A key that DynamoDB did
not answer for is *unread*: nothing is known of its row, and it must not be taken for absent.

Writes are conditional, so running one twice is harmless. A conflict with another writer is tried
again after a jittered wait. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from byline.retries import jittered_wait

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

KEYS_PER_CALL = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""

READ_ATTEMPTS = 5
WRITE_ATTEMPTS = 4
WAIT_SECONDS = 0.05

_PASSING = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})
"""Why a transaction is cancelled that may succeed later. botocore does not try these again."""

type Item = "dict[str, AttributeValueTypeDef]"

type Refused = Mapping[str, Item]
"""The actions whose conditions did not hold, by name, each with the row that was found.

The row is empty where no row exists, and where the action did not ask for it
(`ReturnValuesOnConditionCheckFailure`)."""


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


class RowsUnread(Exception):
    """DynamoDB did not answer for some keys, at every attempt. The same read may succeed later."""


@dataclass(frozen=True, slots=True)
class BatchRead:
    """What a read of many keys brought. A key of neither list belongs to no row."""

    items: tuple[Item, ...]
    unread: tuple[Item, ...]

    def complete(self) -> tuple[Item, ...]:
        """The items. Raises `RowsUnread` where a key was not answered for."""
        if self.unread:
            raise RowsUnread(f"{len(self.unread)} rows")
        return self.items


def read_rows(
    client: "DynamoDBClient",
    table: str,
    keys: Iterable[Item],
    *,
    consistent: bool = True,
    tries: int = READ_ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> BatchRead:
    """The rows with these `keys`, in no order. A key that comes twice is read once.

    One call for every hundred keys; keys that DynamoDB leaves out are asked for again, up to
    `tries` times in all. A read that is not `consistent` costs half and may be a moment behind.
    """
    wanted = list({repr(sorted(key.items())): key for key in keys}.values())
    items: list[Item] = []
    unread: list[Item] = []
    for start in range(0, len(wanted), KEYS_PER_CALL):
        left: Any = wanted[start : start + KEYS_PER_CALL]
        for failures in range(tries):
            if failures:
                sleep(jittered_wait(failures, base_seconds=WAIT_SECONDS))
            answer = client.batch_get_item(
                RequestItems={table: {"Keys": left, "ConsistentRead": consistent}}
            )
            items += answer["Responses"].get(table, [])
            unprocessed: Any = answer.get("UnprocessedKeys", {})
            left = unprocessed.get(table, {}).get("Keys", [])
            if not left:
                break
        unread += left
    return BatchRead(tuple(items), tuple(unread))


class ConditionFailed(Exception):
    """The row is not what the condition demands. Nothing was written."""


class Contended(Exception):
    """Other requests keep changing the same rows. Nothing was written; a retry may succeed."""


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
