"""The secrets of credentials: a version for each change, of which a credential's row names one.

`AWSCURRENT` may be a version of which the row never came to know: whoever reads a secret without
asking this API goes by the label and may see a change a moment before it counts.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from serve_runs.credentials.requests import PutCredential
from serve_runs.web.problems import Problem, unavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient

RECOVERY_DAYS = 7
"""The shortest that AWS has. Until then an operator can undo a deletion, and a put of the same name
need not wait for the end of a forced one; nobody can read the secret, and nobody pays for it."""

RETRY_AFTER_SECONDS = 3_600


class CredentialSecret(msgspec.Struct, frozen=True):
    """What a secret holds, as JSON."""

    provider: str
    token: str
    url: str | None
    email: str | None

    def __repr__(self) -> str:
        return f"<secret of {self.provider}>"


class CredentialSecrets:
    """The secrets in Secrets Manager, whose client is made with the first of them: a listing goes
    without. `name`: see `secret_name`."""

    def __init__(self, client: "Callable[[], SecretsManagerClient]") -> None:
        self._make_client = client

    @property
    def _client(self) -> "SecretsManagerClient":
        return self._make_client()

    def read(self, name: str, version: str) -> CredentialSecret | None:
        """What a version holds; None where it is not there, not to be seen yet, or spoiled."""
        errors = self._client.exceptions
        try:
            answer = self._client.get_secret_value(SecretId=name, VersionId=version)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            return None
        try:
            return msgspec.json.decode(answer.get("SecretString", ""), type=CredentialSecret)
        except (msgspec.MsgspecError, UnicodeError):
            return None

    def create(self, name: str, secret: CredentialSecret, *, version: str) -> None:
        """Write the first version of a secret. What is left of an earlier one is no hindrance.

        The same `version` twice is one. Raises `Problem` 503, 429.
        """
        errors = self._client.exceptions
        try:
            self._create(name, secret, version)
        except (errors.ResourceExistsException, errors.InvalidRequestException):
            self._mend(name, secret, version)

    def put(self, name: str, secret: CredentialSecret, *, version: str) -> None:
        """Write a further version. Raises `Problem` 503, and 429 where there are too many."""
        errors = self._client.exceptions
        try:
            self._put(name, secret, version)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            self._mend(name, secret, version)

    def delete(self, name: str) -> None:
        """Delete a secret with all its versions; nothing where that was done before."""
        errors = self._client.exceptions
        try:
            self._client.delete_secret(SecretId=name, RecoveryWindowInDays=RECOVERY_DAYS)
        except (errors.ResourceNotFoundException, errors.InvalidRequestException):
            return

    def _mend(self, name: str, secret: CredentialSecret, version: str) -> None:
        """Write where the secret is not as expected: deleted, gone for good, or half made."""
        errors = self._client.exceptions
        try:
            self._client.restore_secret(SecretId=name)
            self._put(name, secret, version)
        except errors.ResourceNotFoundException:
            try:
                self._create(name, secret, version)
            except (errors.ResourceExistsException, errors.InvalidRequestException):
                raise unavailable(
                    "store_unavailable", "Another request is writing the same secret."
                ) from None
        except errors.InvalidRequestException:
            # Somebody forced its deletion, which takes AWS a while.
            raise unavailable("store_unavailable", "An earlier secret is being deleted.") from None

    def _create(self, name: str, secret: CredentialSecret, version: str) -> None:
        self._client.create_secret(
            Name=name,
            Description="A credential that runs may use. Byline writes it.",
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
            raise _too_many() from None


def secret_name(project: str, credential: str) -> str:
    """The name of a credential's secret. Names have no `/`, so no two share one."""
    return f"byline/credentials/{project}/{credential}"


def secret_of(body: PutCredential) -> CredentialSecret:
    """What is to be kept of a request."""
    return CredentialSecret(body.provider, body.token, body.url, body.email)


def _too_many() -> Problem:
    """AWS keeps all versions of 24 hours, and no more than 100."""
    return Problem(
        429,
        "too_many_changes",
        "A credential can be changed a hundred times in 24 hours.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
