"""What is known of an OAuth client between refreshes: its breaker and its back-off.

A client whose credentials were refused is left alone until it has others: trying again can lock it
(RFC 6749, section 5.2). One that was told to wait waits with all its runners.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from byline.refresh.runner_rows import client_key
from byline.tables.items import attributes, values_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientState:
    """Trouble with a client, since `since`. Times are seconds since the epoch.

    `broken_version`: the version of the client's secret that was refused, where it was; another one
    closes the breaker. `retry_at`: until when nobody asks. `attempts`: failures in a row.
    """

    error_class: str
    since: int
    retry_at: int
    attempts: int
    broken_version: str | None = None


class ClientStates:
    """The states in `RunnersTable`. A client without trouble has no row.

    Writing is best effort. What was not remembered is found out again by asking, and each runner's
    own row says when; a token that was minted is not to be lost over it.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def get(self, project: str, client: str) -> ClientState | None:
        """The state, None without trouble. What cannot be read is none: the issuer is asked."""
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
        """Remember `state`, unless another worker has learnt something since `before` was read."""
        values: dict[str, Any] = msgspec.to_builtins(state)
        item = attributes(values) | client_key(project, client)
        with suppress(ClientError, BotoCoreError):
            self._client.put_item(TableName=self._table, Item=item, **_still(before))

    def clear(self, project: str, client: str, *, before: ClientState) -> None:
        """Forget the trouble, unless another worker has met new trouble since."""
        key = client_key(project, client)
        with suppress(ClientError, BotoCoreError):
            self._client.delete_item(TableName=self._table, Key=key, **_still(before))


def _still(before: ClientState | None) -> Any:
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(runner)"}
    return {
        "ConditionExpression": "since = :since AND attempts = :attempts",
        "ExpressionAttributeValues": {
            ":since": {"N": str(before.since)},
            ":attempts": {"N": str(before.attempts)},
        },
    }
