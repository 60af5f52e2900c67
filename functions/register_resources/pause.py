"""The pause for which the authorization service asked by `Retry-After`, kept for all workers.

It is a row of its own, because one worker meets the answer and the next invocation may be another
process.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from byline.caching import Clock
from byline.registration.authorization_service import AuthorizationService
from byline.registration.outbox import CLAIM
from byline.tables.rows import ConditionFailed, Item, write_row

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

KEPT_SECONDS = 86_400
"""The row expires this long after the pause."""

KEY: Item = {"project": {"S": CLAIM}, "id": {"S": "pause"}}
"""No claim has this key, because no project has an empty name."""


class ServicePause:
    """The pause in the rows of one table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    @contextmanager
    def kept_for(self, service: AuthorizationService, *, now: Clock) -> Iterator[None]:
        """Pause `service` as other workers noted, and note a longer pause at the end."""
        noted = self._read()
        service.paused_until = max(service.paused_until, noted)
        try:
            yield
        finally:
            if service.paused_until > max(noted, now()):
                self._note(service.paused_until)

    def _read(self) -> float:
        answer = self._client.get_item(
            TableName=self._table, Key=KEY, ProjectionExpression="paused_until"
        )
        return float(answer.get("Item", {}).get("paused_until", {"N": "0"})["N"])

    def _note(self, until: float) -> None:
        def write() -> object:
            return self._client.update_item(
                TableName=self._table,
                Key=KEY,
                UpdateExpression="SET paused_until = :until, expires_at = :expires",
                ConditionExpression="attribute_not_exists(paused_until) OR paused_until < :until",
                ExpressionAttributeValues={
                    ":until": {"N": str(int(-(-until // 1)))},
                    ":expires": {"N": str(int(until) + KEPT_SECONDS)},
                },
            )

        with suppress(ConditionFailed):
            write_row(self._client, write)
