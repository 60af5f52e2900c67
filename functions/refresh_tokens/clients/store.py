"""OAuth clients' secrets in Secrets Manager, with the version that was read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import is_passing
from byline.refresh.work_units import client_secret_name
from refresh_tokens.clients.secrets import ClientSecret, read_client_secret
from refresh_tokens.errors import RefreshFailed

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient


@dataclass(frozen=True, slots=True)
class VersionedClient:
    """A client's credentials. Another `version` is another try for a client that was refused."""

    version: str
    secret: ClientSecret | RefreshFailed


class ClientStore:
    """Reads clients' secrets; writes none."""

    def __init__(self, client: "SecretsManagerClient") -> None:
        self._client = client

    def get(self, project: str, client: str) -> VersionedClient:
        """The client as it is now; its secret may be unusable, which is told and not raised.

        Raises `RefreshFailed` where the secret cannot be read at all.
        """
        name = client_secret_name(project, client)
        try:
            answer = self._client.get_secret_value(SecretId=name)
        except self._client.exceptions.ResourceNotFoundException:
            raise RefreshFailed("client_secret_unusable", "there is no such secret") from None
        except (ClientError, BotoCoreError) as error:
            raise RefreshFailed(
                "store_throttled" if is_passing(error) else "store_refused", type(error).__name__
            ) from None
        try:
            secret: ClientSecret | RefreshFailed = read_client_secret(
                answer.get("SecretString", "")
            )
        except RefreshFailed as unusable:
            secret = unusable
        return VersionedClient(answer["VersionId"], secret)
