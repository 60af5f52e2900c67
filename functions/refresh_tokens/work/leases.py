"""One worker at a time for a unit of work.

The lease only spares double work: mints that a second worker would buy in vain. What keeps tokens
consistent is that every write below it is conditional, so a lease that ran out while its holder was
still at work harms nothing.
"""

from typing import TYPE_CHECKING

from byline.refresh.runner_rows import lease_key
from byline.refresh.work_units import Unit

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class UnitLeases:
    """The leases of one `owner`, in the table of runners."""

    def __init__(self, client: "DynamoDBClient", table: str, *, owner: str) -> None:
        self._client = client
        self._table = table
        self._owner = owner

    def take(self, unit: Unit, *, now: float, until: float) -> bool:
        """Whether the lease is this owner's now, for work that ends before `until`."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item={
                    **lease_key(unit),
                    "owner": {"S": self._owner},
                    "until": {"N": str(int(until) + 1)},
                    "ttl": {"N": str(int(until) + 86_400)},
                },
                ConditionExpression=(
                    "attribute_not_exists(runner) OR #until <= :now OR #owner = :me"
                ),
                ExpressionAttributeNames={"#until": "until", "#owner": "owner"},
                ExpressionAttributeValues={":now": {"N": str(int(now))}, ":me": {"S": self._owner}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def release(self, unit: Unit) -> None:
        """Give the lease back, unless it has become another's."""
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=lease_key(unit),
                ConditionExpression="#owner = :me",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":me": {"S": self._owner}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return
