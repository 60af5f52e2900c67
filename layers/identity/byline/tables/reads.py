"""Reads of many rows by their keys. A row is found, absent or unread.

A row is *absent* where DynamoDB answered its key without an item. A key without an answer is
*unread*: its row may exist, so it must not be treated as absent.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byline.retries import attempts
from byline.tables.items import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

KEYS_PER_CALL = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""

READ_ATTEMPTS = 5
WAIT_SECONDS = 0.05


class RowsUnread(Exception):
    """DynamoDB left some keys unanswered in every attempt. The same read may succeed later."""


@dataclass(frozen=True, slots=True)
class BatchRead:
    """The items that were found, and the keys that are unread. All other rows are absent."""

    items: tuple[Item, ...]
    unread: tuple[Item, ...]

    def complete(self) -> tuple[Item, ...]:
        """The items. Raises `RowsUnread` where a key is unread."""
        if self.unread:
            raise RowsUnread(f"{len(self.unread)} rows were not read; retry")
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
    """The rows with these `keys`, in any order. A key that occurs twice is read once.

    Each call reads up to 100 keys. Keys without an answer are read again after a jittered wait, up
    to `tries` times in all. An eventually consistent read costs half and may miss recent writes.
    botocore's errors pass through.
    """
    wanted = list({repr(sorted(key.items())): key for key in keys}.values())
    items: list[Item] = []
    unread: list[Item] = []
    for start in range(0, len(wanted), KEYS_PER_CALL):
        left: Any = wanted[start : start + KEYS_PER_CALL]
        for _ in attempts(tries, base_seconds=WAIT_SECONDS, sleep=sleep):
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
