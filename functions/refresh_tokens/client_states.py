"""OAuth clients' trouble, kept in RunnersTable."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from byline.refresh.runner_rows import client_key
from byline.tables.rows import ConditionFailed, Contended, attributes, values_of, write_row
from refresh_tokens.retries import ClientState

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class ClientStates:
    """The states of clients in RunnersTable. A client that works has no row.

    Writes are best effort: a lost state is found out again by asking the issuer, each runner's own
    row says when, and a minted token must not be lost because of it.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def get(self, project: str, client: str) -> ClientState | None:
        """The client's state. None for a client that works, and for a row that cannot be read."""
        answer = self._client.get_item(
            TableName=self._table, Key=client_key(project, client), ConsistentRead=True
        )
        try:
            return msgspec.convert(values_of(answer["Item"]), ClientState)
        except (KeyError, ValueError, msgspec.ValidationError):
            return None

    def put(
        self, project: str, client: str, state: ClientState, *, before: ClientState | None
    ) -> None:
        """Keep `state`, unless another worker has changed it since `before` was read."""
        values: dict[str, Any] = msgspec.to_builtins(state)
        item = attributes(values) | client_key(project, client)
        self._write(
            lambda: self._client.put_item(TableName=self._table, Item=item, **_unchanged(before))
        )

    def clear(self, project: str, client: str, *, before: ClientState) -> None:
        """Delete the state, unless another worker has changed it since `before` was read."""
        key = client_key(project, client)
        self._write(
            lambda: self._client.delete_item(TableName=self._table, Key=key, **_unchanged(before))
        )

    def _write(self, write: Callable[[], object]) -> None:
        with suppress(ConditionFailed, Contended, ClientError, BotoCoreError):
            write_row(self._client, write)


def _unchanged(before: ClientState | None) -> Any:
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(runner)"}
    return {
        "ConditionExpression": "since = :since AND attempts = :attempts",
        "ExpressionAttributeValues": attributes(
            {":since": before.since, ":attempts": before.attempts}
        ),
    }
