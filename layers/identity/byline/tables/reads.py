"""Reading many rows by their keys, with every outcome told apart.

A row is *absent* only where DynamoDB answered for its key without an item. A key that DynamoDB did
not answer for is *unread*: nothing is known of its row, and it must not be taken for absent.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byline.retries import jittered_wait
from byline.tables.rows import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

KEYS_PER_CALL = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""

READ_ATTEMPTS = 5
WAIT_SECONDS = 0.05


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
