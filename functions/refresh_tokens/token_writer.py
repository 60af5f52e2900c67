"""Putting a token into a runner's secret, so that doing it twice is doing it once.

The version's id follows from the secret and the generation. Whoever puts a generation first, before
a crash or beside another worker, has put it for all: the others find that version and go by it.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from byline.refresh_units import version_token
from mint import MintedToken
from write_limiter import WriteLimiter

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient


class TokenSecret(msgspec.Struct, frozen=True):
    """What a runner reads. Times are UTC, whole seconds, in RFC 3339."""

    token: str
    token_type: str
    issued_at: datetime
    expires_at: datetime
    generation: int

    def __repr__(self) -> str:
        return f"<token of generation {self.generation}>"


class UnreadableSecret(Exception):
    """A version of a secret is not what is written here."""


class TokenWriter:
    """Writes runners' secrets at the pace of `limiter`."""

    def __init__(self, client: "SecretsManagerClient", *, limiter: WriteLimiter) -> None:
        self._client = client
        self._limiter = limiter

    def write(self, name: str, token: MintedToken, *, generation: int) -> TokenSecret:
        """Put `token` as this `generation` into the secret `name`, which is made where it is not.

        Returns what the secret holds for the generation: `token`, or another worker's, who was
        first. Raises `ClientError` and `BotoCoreError`; then nothing is known of the secret, and
        the same call is the way to find out.
        """
        value = TokenSecret(
            token=token.text,
            token_type=token.token_type,
            issued_at=datetime.fromtimestamp(token.issued_at, UTC),
            expires_at=datetime.fromtimestamp(token.expires_at, UTC),
            generation=generation,
        )
        version = version_token(name, generation)
        text = msgspec.json.encode(value).decode()
        errors = self._client.exceptions
        try:
            self._put(name, version, text)
        except errors.ResourceExistsException:
            return self._found(name, version)
        except errors.ResourceNotFoundException:
            try:
                self._create(name, version, text)
            except errors.ResourceExistsException:
                return self._put_or_find(name, version, text, value)
        return value

    def current(self, name: str) -> TokenSecret | None:
        """What the secret `name` holds now, None where it is not there or about to go."""
        errors = self._client.exceptions
        try:
            answer = self._client.get_secret_value(SecretId=name)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            return None
        return _read(answer["SecretString"])

    def discard_up_to(self, name: str, *, generation: int) -> None:
        """Delete the secret `name` for good, unless it holds a later generation."""
        current = self.current(name)
        if current is None or current.generation > generation:
            return
        with suppress(self._client.exceptions.ResourceNotFoundException):
            # Its token lives for minutes: a recovery window would only block the name for a week.
            self._client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    def _put_or_find(self, name: str, version: str, text: str, value: TokenSecret) -> TokenSecret:
        """Another worker has made the secret meanwhile, of this generation or an earlier one."""
        try:
            self._put(name, version, text)
        except self._client.exceptions.ResourceExistsException:
            return self._found(name, version)
        return value

    def _put(self, name: str, version: str, text: str) -> None:
        self._limiter.wait()
        self._client.put_secret_value(SecretId=name, ClientRequestToken=version, SecretString=text)

    def _create(self, name: str, version: str, text: str) -> None:
        self._limiter.wait()
        self._client.create_secret(Name=name, ClientRequestToken=version, SecretString=text)

    def _found(self, name: str, version: str) -> TokenSecret:
        answer = self._client.get_secret_value(SecretId=name, VersionId=version)
        return _read(answer["SecretString"])


def _read(text: str) -> TokenSecret:
    try:
        return msgspec.json.decode(text, type=TokenSecret)
    except msgspec.MsgspecError:
        raise UnreadableSecret from None  # the message may quote the value
