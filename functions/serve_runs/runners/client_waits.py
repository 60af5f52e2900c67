"""The waits of OAuth clients, which a registration or a request for a refresh ends or shortens.

RefreshTokensFunction writes a row for a client that its issuer refused or asked to wait.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from byline.caching import Clock
from byline.refresh.token_rows import TokenRow, client_key
from byline.tables.rows import ConditionFailed, text_of, write_row
from serve_runs.runners.changes import RESTART_SPACING_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class ClientFailure(NamedTuple):
    """Why a client waits: the class of its last error, and what went wrong as a sentence."""

    error_class: str
    detail: str


class ClientWaits(msgspec.Struct, frozen=True):
    """The waits of the clients of one table."""

    client: "DynamoDBClient"
    table: str
    now: Clock

    def end(self, token: TokenRow) -> ClientFailure | None:
        """End the wait of the token's client, so that it is tried again. Returns why it waited.

        The wait ends before the token is written, and begins again at the next failure. After the
        write, a repeated request would find an unchanged runner.
        """
        with suppress(ConditionFailed):
            answer = write_row(
                self.client,
                lambda: self.client.delete_item(
                    TableName=self.table,
                    Key=client_key(token.project, token.client),
                    ConditionExpression="attribute_exists(broken_version) OR retry_at > :now",
                    ExpressionAttributeValues={":now": {"N": str(int(self.now()))}},
                    ReturnValues="ALL_OLD",
                ),
            )
            row = answer.get("Attributes", {})
            if error_class := text_of(row, "error_class"):
                return ClientFailure(error_class, text_of(row, "detail") or "")
        return None

    def shorten(self, token: TokenRow) -> None:
        """Let the token's client be tried again, a while after its last failure.

        A runner that restarts in a loop must not lock its client. So the wait does not end at once.
        """
        key = client_key(token.project, token.client)
        answer = self.client.get_item(TableName=self.table, Key=key, ConsistentRead=True)
        item = answer.get("Item", {})
        if not {"since", "retry_at", "attempts"} <= item.keys():
            return
        earliest = max(token.try_at or 0, int(item["since"]["N"]) + RESTART_SPACING_SECONDS)
        if "broken_version" not in item and int(item["retry_at"]["N"]) <= earliest:
            return
        shorter = {"asked_version": item.get("broken_version", {"S": ""}), **item}
        shorter.pop("broken_version", None)
        shorter["retry_at"] = {"N": str(earliest)}
        with suppress(ConditionFailed):
            write_row(
                self.client,
                lambda: self.client.put_item(
                    TableName=self.table,
                    Item=shorter,
                    ConditionExpression="since = :since AND attempts = :attempts",
                    ExpressionAttributeValues={
                        ":since": item["since"],
                        ":attempts": item["attempts"],
                    },
                ),
            )
