"""Putting a token into a runner's secret, so that doing it twice is doing it once.

The version's id follows from the secret and the generation. Whoever puts a generation first, before
a crash or beside another worker, has put it for all: the others find that version and go by it.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from byline.refresh.work_units import version_token
from refresh_tokens.minting.mint import MintedToken
from refresh_tokens.write_limiter import WriteLimiter

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import GetSecretValueResponseTypeDef


class TokenSecret(msgspec.Struct, frozen=True):
    """What a runner reads. Times are UTC, whole seconds, in RFC 3339."""

    token: str
    token_type: str
    issued_at: datetime
    expires_at: datetime
    generation: int

    def __repr__(self) -> str:
        return f"<token of generation {self.generation}>"


class _Version(TypedDict):
    ClientRequestToken: str
    SecretString: str


class UnreadableSecret(Exception):
    """A version of a secret is not what is written here."""


class TokenWriter:
    """Writes runners' secrets, each attempt at the pace of `limiter`: botocore's retries as well.

    Writing returns what the secret holds for the generation: the token, or another worker's, who
    was first. It raises `UnreadableSecret`, and `ClientError` and `BotoCoreError`; then nothing is
    known of the secret, and the same call is the way to find out.
    """

    def __init__(self, client: "SecretsManagerClient", *, limiter: WriteLimiter) -> None:
        self._client = client

        def keep_pace(**_: Any) -> None:
            limiter.wait()

        for operation in ("PutSecretValue", "CreateSecret"):
            event = f"before-send.secrets-manager.{operation}"
            # By its id it is registered once, however many writers share the client.
            client.meta.events.register(event, keep_pace, unique_id=f"keep-pace-{operation}")

    def write_first(self, name: str, token: MintedToken, *, generation: int) -> TokenSecret:
        """Write a runner's first token: most likely its secret `name` is not there yet."""
        return self._create_or_put(name, _secret(token, generation))

    def write(self, name: str, token: MintedToken, *, generation: int) -> TokenSecret:
        """Write `token` as this `generation` into the secret `name`, made where it is not there."""
        secret = _secret(token, generation)
        try:
            return self._put_or_find(name, secret)
        except self._client.exceptions.ResourceNotFoundException as error:
            if error.operation_name == "GetSecretValue":
                raise  # the version is there, and reads are behind
            return self._create_or_put(name, secret)

    def current(self, name: str) -> TokenSecret | None:
        """What the secret `name` holds now, None where it is not there or about to go."""
        errors = self._client.exceptions
        try:
            answer = self._client.get_secret_value(SecretId=name)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            return None
        return _read(answer)

    def discard_up_to(self, name: str, *, generation: int) -> None:
        """Delete the secret `name` for good, unless it holds a later generation."""
        try:
            current = self.current(name)
        except UnreadableSecret:
            pass  # nothing of ours is lost with it
        else:
            if current is None or current.generation > generation:
                return
        with suppress(self._client.exceptions.ResourceNotFoundException):
            # Its token lives for minutes: a recovery window would only block the name for a week.
            self._client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    def _create_or_put(self, name: str, secret: TokenSecret) -> TokenSecret:
        try:
            self._client.create_secret(Name=name, **_version(name, secret))
        except self._client.exceptions.ResourceExistsException:
            # Made meanwhile, by an earlier generation or by this one.
            return self._put_or_find(name, secret)
        return secret

    def _put_or_find(self, name: str, secret: TokenSecret) -> TokenSecret:
        version = _version(name, secret)
        try:
            self._client.put_secret_value(SecretId=name, **version)
        except self._client.exceptions.ResourceExistsException:
            return _read(
                self._client.get_secret_value(
                    SecretId=name, VersionId=version["ClientRequestToken"]
                )
            )
        return secret


def _secret(token: MintedToken, generation: int) -> TokenSecret:
    return TokenSecret(
        token=token.text,
        token_type=token.token_type,
        issued_at=datetime.fromtimestamp(token.issued_at, UTC),
        expires_at=datetime.fromtimestamp(token.expires_at, UTC),
        generation=generation,
    )


def _version(name: str, secret: TokenSecret) -> _Version:
    return {
        "ClientRequestToken": version_token(name, secret.generation),
        "SecretString": msgspec.json.encode(secret).decode(),
    }


def _read(answer: "GetSecretValueResponseTypeDef") -> TokenSecret:
    try:
        return msgspec.json.decode(answer.get("SecretString", ""), type=TokenSecret)
    except (msgspec.MsgspecError, UnicodeError):
        raise UnreadableSecret from None  # the message may quote the value
