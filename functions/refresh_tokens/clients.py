"""OAuth clients: their credentials in Secrets Manager, and their trouble in RunnersTable.

The secret `{prefix}/clients/{project}/{name}` holds

    {"token_endpoint" | "issuer", "client_id", "auth_method", "client_secret" | "private_key_pem",
     "key_id"?}

`auth_method` decides how a client proves itself, and nothing is negotiated: an issuer could
otherwise make us send a secret where a signature was meant.
"""

from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote_plus

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import is_passing
from byline.refresh.runner_rows import client_key
from byline.secret_names import SecretNames
from byline.tables.rows import ConditionFailed, Contended, attributes, values_of, write_row
from byline.urls import is_private
from refresh_tokens.errors import RefreshFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_secretsmanager.client import SecretsManagerClient

    from refresh_tokens.assertions import PrivateKeyJwt


@dataclass(frozen=True, slots=True)
class Proof:
    """The client's authentication in a token request: headers, and members of the form."""

    headers: dict[str, str]
    form: dict[str, str]

    def __repr__(self) -> str:
        return "<proof of a client>"


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """`client_secret_basic` or `client_secret_post` (RFC 6749, section 2.3.1)."""

    client_id: str
    secret: str = field(repr=False)
    method: Literal["client_secret_basic", "client_secret_post"]

    def prove(self, *, audience: str, now: float) -> Proof:
        """The proof, which is the same for every `audience` at any time."""
        if self.method == "client_secret_post":
            return Proof({}, {"client_id": self.client_id, "client_secret": self.secret})
        # Both parts are form-encoded first, because either may hold a colon.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
        return Proof({"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """A client's credentials, and its token endpoint or its issuer; the other one is empty."""

    token_endpoint: str
    issuer: str
    authentication: "SharedSecret | PrivateKeyJwt"


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secret's members. All are optional here, so that errors are in our own words."""

    client_id: str = ""
    auth_method: str = ""
    token_endpoint: str = ""
    issuer: str = ""
    client_secret: str = ""
    private_key_pem: str = ""
    key_id: str = ""

    def __repr__(self) -> str:
        return "<client secret>"


def read_client_secret(text: str) -> ClientSecret:
    """The client of a secret's text. Raises `RefreshFailed` (`client_secret_unusable`)."""
    document = _document(text)
    if not document.client_id:
        raise _unusable("has no `client_id`")
    if bool(document.token_endpoint) == bool(document.issuer):
        raise _unusable("needs either `token_endpoint` or `issuer`")
    member = "issuer" if document.issuer else "token_endpoint"
    if not is_private(document.issuer or document.token_endpoint):
        raise _unusable(f"`{member}` must be https (http only on loopback)")
    return ClientSecret(
        token_endpoint=document.token_endpoint,
        issuer=document.issuer,
        authentication=_authentication(document),
    )


@dataclass(frozen=True, slots=True)
class VersionedClient:
    """A client's credentials, or why they are unusable, in one version of its secret.

    A client that was refused is tried again with another `version`.
    """

    version: str
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
        return VersionedClient(answer["VersionId"], secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientState:
    """Why an OAuth client is not asked for tokens, since `since`. Times: seconds since the epoch.

    `retry_at`: when the issuer may be asked again. `attempts`: failures in a row. `broken_version`:
    the version of the client's secret that the issuer refused, if it did. Another version may be
    tried at once, because trying a refused one can lock the client (RFC 6749, section 5.2).
    """

    error_class: str
    since: int
    retry_at: int
    attempts: int
    broken_version: str | None = None


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


def _document(text: str) -> _Document:
    try:
        return msgspec.json.decode(text.encode(), type=_Document)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        # Refused outside the handler: errors may carry the text.
        pass
    raise _unusable("is not a JSON object of texts, or has members that are not known")


def _authentication(document: _Document) -> "SharedSecret | PrivateKeyJwt":
    match document.auth_method:
        case "client_secret_basic" | "client_secret_post" as method:
            if not document.client_secret or document.private_key_pem or document.key_id:
                raise _unusable("needs a `client_secret`, and no key, for its `auth_method`")
            return SharedSecret(document.client_id, document.client_secret, method)
        case "private_key_jwt":
            return _private_key_jwt(document)
        case _:
            raise _unusable("has an `auth_method` that is not known")


def _private_key_jwt(document: _Document) -> "PrivateKeyJwt":
    # Loaded for the clients that sign: a JWT library costs 166 ms of a cold start.
    from refresh_tokens.assertions import PrivateKeyJwt  # noqa: PLC0415

    if not document.private_key_pem or document.client_secret:
        raise _unusable("needs a `private_key_pem`, and no `client_secret`, for private_key_jwt")
    return PrivateKeyJwt.of_pem(
        document.client_id, document.private_key_pem, key_id=document.key_id
    )


def _unusable(detail: str) -> RefreshFailed:
    return RefreshFailed("client_secret_unusable", f"the client secret {detail}")
