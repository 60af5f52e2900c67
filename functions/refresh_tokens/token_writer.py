"""Writing tokens into their secrets, where a repeated write has no further effect.

The version's id follows from the secret's name and the generation. Whichever worker writes a
generation first, before a crash or beside another worker, has written it for all: the others find
that version and go on with it.
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from byline.aws import encrypted_with
from byline.caching import Clock
from byline.refresh.timing import MintedToken, refreshed, slots_for
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import (
    SecretNames,
    TokenSecret,
    UnreadableSecret,
    read_token_secret,
    slot_of,
    version_token,
)

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient

_PRECISION_SECONDS = 1e-6


type Held = TokenSecret | Literal["absent", "unreadable"]
"""What a secret holds. "absent": it does not exist, or is being deleted. "unreadable": it holds no
token that was written here."""


class _Version(TypedDict):
    ClientRequestToken: str
    SecretString: str


class WriteLimiter:
    """Spaces this worker's writes evenly, because bursts of several workers would add up.

    `PutSecretValue` and `CreateSecret` share 50 calls a second in an account and region, which is
    not adjustable (https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html).
    All workers together make at most 40: the event source's `MaximumConcurrency` times each one's
    rate. Threads are served in the order in which they ask. A thread that wakes up late delays the
    next ones, so no second has more writes than the rate.
    """

    def __init__(
        self, writes_per_second: float, *, now: Clock, sleep: Callable[[float], None]
    ) -> None:
        self._interval = 1 / writes_per_second + _PRECISION_SECONDS
        self._now = now
        self._sleep = sleep
        self._reserved_up_to = 0.0
        self._last = float("-inf")
        self._lock = Lock()

    def wait(self) -> None:
        """Return when the next write may be sent."""
        with self._lock:
            at = max(self._now(), self._reserved_up_to)
            self._reserved_up_to = at + self._interval
        while (left := self._left(at)) > 0:
            self._sleep(left)

    def _left(self, at: float) -> float:
        """Seconds until the write reserved for `at` may be sent; 0 counts it as sent."""
        with self._lock:
            now = self._now()
            left = max(at, self._last + self._interval) - now
            if left > _PRECISION_SECONDS:
                return left
            self._last = now
            return 0


class TokenWriter:
    """Writes tokens' secrets. `limiter` paces every attempt, botocore's retries too. `kms_key`
    encrypts new secrets; empty: the key that AWS manages.

    Writes return the secret's content for the generation: the token, or the token of another worker
    that was first. They raise `UnreadableSecret`, `ClientError` and `BotoCoreError`. After an error
    the content is unknown, and the same call finds it out.
    """

    def __init__(
        self,
        client: "SecretsManagerClient",
        *,
        names: SecretNames,
        limiter: WriteLimiter,
        kms_key: str,
    ) -> None:
        self._client = client
        self.names = names
        self._encryption = encrypted_with(kms_key)

        def keep_pace(**_: Any) -> None:
            limiter.wait()

        for operation in ("PutSecretValue", "CreateSecret"):
            event = f"before-send.secrets-manager.{operation}"
            # The id makes it one registration, however many writers share the client.
            client.meta.events.register(event, keep_pace, unique_id=f"keep-pace-{operation}")

    def write_next(self, row: TokenRow, token: MintedToken, *, now: Clock) -> TokenRow:
        """Write `token` as the row's next generation; returns the row to commit."""
        # Never fewer slots than before, so that the row names all secrets that were ever written.
        slots = slots_for(token.lifetime, at_least=row.slots or 1)
        generation = row.generation + 1
        slot = slot_of(generation, slots=slots)
        name = self.names.token(row.project, row.client, row.id, slot)
        write = self.write_first if row.slot is None else self.write
        written = write(name, token, generation=generation)
        return refreshed(
            row,
            slot=slot,
            slots=slots,
            issued_at=int(written.issued_at.timestamp()),
            expires_at=int(written.expires_at.timestamp()),
            now=int(now()),
        )

    def write_first(self, name: str, token: MintedToken, *, generation: int) -> TokenSecret:
        """Write a first generation, whose secret `name` most likely does not exist yet."""
        return self._create_or_put(name, token_secret(token, generation=generation))

    def write(self, name: str, token: MintedToken, *, generation: int) -> TokenSecret:
        """Write `token` as this `generation` into the secret `name`, which is created if needed."""
        secret = token_secret(token, generation=generation)
        try:
            return self._put_or_find(name, secret)
        except self._client.exceptions.ResourceNotFoundException as error:
            if error.operation_name == "GetSecretValue":
                raise  # the version exists, but reads are behind writes
            return self._create_or_put(name, secret)

    def held(self, name: str, *, stage: str = "AWSCURRENT") -> Held:
        """The content of the secret `name`. Raises `ClientError` and `BotoCoreError`.

        `stage`: the label of the version, `AWSPREVIOUS` for the one before the newest.
        https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html
        """
        errors = self._client.exceptions
        try:
            answer = self._client.get_secret_value(SecretId=name, VersionStage=stage)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            return "absent"
        try:
            return read_token_secret(answer.get("SecretString", ""))
        except UnreadableSecret:
            return "unreadable"

    def delete(self, name: str) -> None:
        """Delete the secret `name` at once. Raises `ClientError` and `BotoCoreError`."""
        with suppress(self._client.exceptions.ResourceNotFoundException):
            # Its token lives for minutes. A recovery window would only keep it readable for a week.
            self._client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    def _create_or_put(self, name: str, secret: TokenSecret) -> TokenSecret:
        try:
            self._client.create_secret(Name=name, **self._encryption, **_version(name, secret))
        except self._client.exceptions.ResourceExistsException:
            # Created meanwhile, with an earlier generation or with this one.
            return self._put_or_find(name, secret)
        return secret

    def _put_or_find(self, name: str, secret: TokenSecret) -> TokenSecret:
        version = _version(name, secret)
        try:
            self._client.put_secret_value(SecretId=name, **version)
        except self._client.exceptions.ResourceExistsException:
            answer = self._client.get_secret_value(
                SecretId=name, VersionId=version["ClientRequestToken"]
            )
            return read_token_secret(answer.get("SecretString", ""))
        return secret


def token_secret(token: MintedToken, *, generation: int) -> TokenSecret:
    """The content of the secret that a generation of a token is written to."""
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
