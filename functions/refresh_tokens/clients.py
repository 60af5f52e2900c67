"""OAuth clients' credentials in Secrets Manager."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import is_passing
from byline.secret_names import SecretNames
from refresh_tokens.client_secrets import ClientSecret, read_client_secret
from refresh_tokens.errors import RefreshFailed
from refresh_tokens.retries import SecretVersion

if TYPE_CHECKING:
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
