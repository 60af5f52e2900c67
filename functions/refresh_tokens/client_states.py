"""OAuth clients' states in RunnersTable."""

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


STATE_LIFETIME_SECONDS = 2_592_000
"""How long a state is kept: 30 days. A client that is not used any more leaves nothing behind."""


class ClientStates:
    """The states of clients in RunnersTable: their trouble, or the secret that worked.

    Writes are best effort: a lost state is found out again by asking the issuer, each runner's own
    row says when, and a minted token must not be lost because of it.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def get(self, project: str, client: str) -> ClientState | None:
        """The client's state, None where it has none.

        A row that cannot be read is deleted. It would keep every later state from being written.
        """
        key = client_key(project, client)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        if "Item" not in answer:
            return None
        try:
            return msgspec.convert(values_of(answer["Item"]), ClientState)
        except (KeyError, ValueError, msgspec.ValidationError):
            self._write(lambda: self._client.delete_item(TableName=self._table, Key=key))
            return None

    def put(
        self, project: str, client: str, state: ClientState, *, before: ClientState | None
    ) -> None:
        """Keep `state`, unless another worker has changed it since `before` was read."""
        values: dict[str, Any] = msgspec.to_builtins(state)
        values["ttl"] = state.since + STATE_LIFETIME_SECONDS
        item = attributes(values) | client_key(project, client)
        self._write(
            lambda: self._client.put_item(TableName=self._table, Item=item, **_unchanged(before))
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
