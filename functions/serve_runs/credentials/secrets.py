"""The secrets of credentials: one version for each change. A credential's row names its version.

`AWSCURRENT` may be another version. A reader that bypasses this API follows that label, and may see
a change before the row is written.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypedDict

import msgspec

from byline.aws import encrypted_with
from byline.refresh.work_units import SecretNames
from serve_runs.credentials.requests import PutCredential
from serve_runs.errors import RequestFailed

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient


class _Deletion(TypedDict, total=False):
    RecoveryWindowInDays: int
    ForceDeleteWithoutRecovery: bool


class CredentialSecret(msgspec.Struct, frozen=True):
    """The content of a secret, as JSON."""

    provider: str
    token: str
    url: str | None
    email: str | None

    def __repr__(self) -> str:
        return f"<secret of {self.provider}>"


class CredentialSecrets:
    """The secrets in Secrets Manager. `client` makes the client at its first use, because a listing
    needs none. `name`: see `SecretNames.credential`.

    `kms_key` encrypts new secrets; empty: the key that AWS manages. In the `recovery_days` after a
    deletion an operator can undo it, and a put of the same name need not wait. Such a secret cannot
    be read and costs nothing. With 0 days AWS deletes it at once.
    """

    def __init__(
        self,
        client: "Callable[[], SecretsManagerClient]",
        *,
        names: SecretNames,
        kms_key: str,
        recovery_days: int,
    ) -> None:
        self._make_client = client
        self.names = names
        self._encryption = encrypted_with(kms_key)
        self._deletion: _Deletion = (
            {"RecoveryWindowInDays": recovery_days}
            if recovery_days
            else {"ForceDeleteWithoutRecovery": True}
        )

    @property
    def _client(self) -> "SecretsManagerClient":
        return self._make_client()

    def read(self, name: str, version: str) -> CredentialSecret | None:
        """The content of a version; None where it is absent, not visible yet, or unreadable."""
        errors = self._client.exceptions
        try:
            answer = self._client.get_secret_value(SecretId=name, VersionId=version)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            return None
        try:
            return msgspec.json.decode(answer.get("SecretString", ""), type=CredentialSecret)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None

    def create(
        self, name: str, secret: CredentialSecret, *, version: str
    ) -> Literal["live", "deleted"] | None:
        """Write the first version of a secret; the state of a secret of this name that remains."""
        errors = self._client.exceptions
        try:
            self._create(name, secret, version)
        except errors.ResourceExistsException:
            return "live"
        except errors.InvalidRequestException:
            return "deleted"
        return None

    def put(self, name: str, secret: CredentialSecret, *, version: str) -> None:
        """Write a further version, also of a secret that is deleted.

        Writing the same `version` twice is harmless. Raises `RequestFailed`: `store_unavailable`,
        `too_many_changes`.
        """
        errors = self._client.exceptions
        try:
            self._put(name, secret, version)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            self.restore(name, secret, version=version)

    def restore(self, name: str, secret: CredentialSecret, *, version: str) -> None:
        """Write a version of a secret that is deleted, absent, or has no version yet.

        Until the version is written, a deleted secret has its old content again. Raises
        `RequestFailed` as `put` does.
        """
        errors = self._client.exceptions
        try:
            self._client.restore_secret(SecretId=name)
            self._put(name, secret, version)
        except errors.ResourceNotFoundException:
            try:
                self._create(name, secret, version)
            except (errors.ResourceExistsException, errors.InvalidRequestException):
                raise RequestFailed(
                    "store_unavailable", "Another request is writing the same secret. Retry."
                ) from None
        except errors.InvalidRequestException:
            # An operator forced its deletion, which AWS completes later.
            raise RequestFailed(
                "store_unavailable", "An earlier secret of this name is being deleted. Retry."
            ) from None

    def delete(self, name: str) -> None:
        """Delete a secret with all its versions, unless it is deleted already."""
        errors = self._client.exceptions
        try:
            self._client.delete_secret(SecretId=name, **self._deletion)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            return

    def _create(self, name: str, secret: CredentialSecret, version: str) -> None:
        self._client.create_secret(
            Name=name,
            Description="A credential that runs may use. Byline writes it.",
            **self._encryption,
            ClientRequestToken=version,
            SecretString=msgspec.json.encode(secret).decode(),
        )

    def _put(self, name: str, secret: CredentialSecret, version: str) -> None:
        try:
            self._client.put_secret_value(
                SecretId=name,
                ClientRequestToken=version,
                SecretString=msgspec.json.encode(secret).decode(),
            )
        except self._client.exceptions.LimitExceededException:
            # AWS keeps all versions of 24 hours, and at most 100.
            raise RequestFailed("too_many_changes") from None


def secret_of(body: PutCredential) -> CredentialSecret:
    """The content of the secret that a request puts."""
    return CredentialSecret(body.provider, body.token, body.url, body.email)
