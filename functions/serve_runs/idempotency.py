"""The row of an `Idempotency-Key`, with the run or message that it created.

The row's key depends on the caller and the person it acts for. So a guessed key never finds another
caller's run or message.
"""

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from byline.tables.rows import Item
from serve_runs.errors import RequestFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

IDEMPOTENCY_SECONDS = 86_400
"""How long a key returns the same run or message: one day."""


class RememberedKey(msgspec.Struct, frozen=True):
    """A caller's key. `body`: the digest of the request's body; `earlier_body`: that of an earlier
    version, whose rows count for a day after an upgrade."""

    partition: str
    id: str
    body: str
    earlier_body: str | None = None

    @property
    def key(self) -> Item:
        """The key of the row."""
        return {"project": {"S": self.partition}, "id": {"S": self.id}}

    def put(self, table: str, created: Item, *, now: float) -> "TransactWriteItemTypeDef":
        """The action that stores `created`, refused where the key has a row that is not expired."""
        return {
            "Put": {
                "TableName": table,
                "Item": {
                    **self.key,
                    **created,
                    "body": {"S": self.body},
                    "expires_at": {"N": str(int(now) + IDEMPOTENCY_SECONDS)},
                },
                # DynamoDB deletes an expired row only within days.
                "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now",
                "ExpressionAttributeValues": {":now": {"N": str(int(now))}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def require_same_body(self, found: Item) -> None:
        """Raise `RequestFailed` (`idempotency_conflict`) for another body than in the row."""
        if found["body"]["S"] not in (self.body, self.earlier_body):
            raise RequestFailed("idempotency_conflict")


def digest(*texts: str) -> str:
    """A digest of these texts, in this order."""
    return sha256("\0".join(texts).encode()).hexdigest()
