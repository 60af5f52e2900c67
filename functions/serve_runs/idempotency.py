"""The row in which an `Idempotency-Key` remembers what it created.

The caller is part of the key, so nobody finds another caller's run or message by guessing a key.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from byline.tables.rows import Item
from serve_runs.errors import RequestFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

IDEMPOTENCY_SECONDS = 86_400
"""For how long a key gives the same run or message again."""


@dataclass(frozen=True, slots=True)
class RememberedKey:
    """A caller's key. `body`: the digest of the body that it came with."""

    partition: str
    id: str
    body: str

    @property
    def key(self) -> Item:
        """The key of the row."""
        return {"project": {"S": self.partition}, "id": {"S": self.id}}

    def put(self, table: str, created: Item, *, now: float) -> "TransactWriteItemTypeDef":
        """The action that remembers `created`, unless the key has created something already."""
        return {
            "Put": {
                "TableName": table,
                "Item": {
                    **self.key,
                    **created,
                    "body": {"S": self.body},
                    "expires_at": {"N": str(int(now) + IDEMPOTENCY_SECONDS)},
                },
                # DynamoDB deletes expired rows within days: until then they are in the table.
                "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now",
                "ExpressionAttributeValues": {":now": {"N": str(int(now))}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def require_same_body(self, found: Item) -> None:
        """Raise `RequestFailed` (`idempotency_conflict`) where the row is of another body."""
        if found["body"]["S"] != self.body:
            raise RequestFailed("idempotency_conflict")


def digest(*texts: str) -> str:
    """A digest of these texts, in this order."""
    return sha256("\0".join(texts).encode()).hexdigest()
