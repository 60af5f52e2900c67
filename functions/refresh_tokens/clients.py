"""OAuth clients: their credentials in Secrets Manager, and their states in RunnersTable."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import is_passing
from byline.refresh.runner_rows import client_key
from byline.secret_names import SecretNames
from byline.tables.rows import ConditionFailed, Contended, attributes, values_of, write_row
from refresh_tokens.client_secrets import ClientSecret, read_client_secret
from refresh_tokens.errors import RefreshFailed
from refresh_tokens.retries import ClientState, SecretVersion

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_secretsmanager.client import SecretsManagerClient


@dataclass(frozen=True, slots=True)
class VersionedClient:
    """A client's credentials, or why they are unusable, in one version of its secret.

    A client that was refused is tried again with another `version`.
    """

    version: SecretVersion
    secret: ClientSecret | RefreshFailed


class ClientStore:
    """Reads clients' secrets."""

    def __init__(self, client: "SecretsManagerClient", *, names: SecretNames) -> None:
        self._client = client
        self._names = names

    def get(self, project: str, client: str) -> VersionedClient:
        """The client in its secret's current version.

        Raises `RefreshFailed` where the secret cannot be read at all.
        """
        name = self._names.client(project, client)
        try:
            answer = self._client.get_secret_value(SecretId=name)
        except self._client.exceptions.ResourceNotFoundException:
            raise RefreshFailed("client_secret_unusable", "there is no such secret") from None
        except (ClientError, BotoCoreError) as error:
            raise RefreshFailed(
                "store_throttled" if is_passing(error) else "store_refused", type(error).__name__
            ) from None
        secret: ClientSecret | RefreshFailed
        try:
            secret = read_client_secret(answer.get("SecretString", ""))
        except RefreshFailed as unusable:
            secret = unusable
        version = SecretVersion(answer["VersionId"], answer["CreatedDate"].timestamp())
        return VersionedClient(version, secret)


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
