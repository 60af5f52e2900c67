"""A runner's newest token, and the service account that may read it: the runner's own."""

from typing import TYPE_CHECKING, Any

from byline.caching import Clock
from byline.identity.caller import Principal
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import (
    SecretNames,
    UnreadableSecret,
    read_token_secret,
    version_token,
)
from byline.tables.rows import rfc3339
from serve_runs.errors import RequestFailed

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient


def own_principal(row: RunnerRow) -> Principal | None:
    """The runner's own service account; None where it was registered without a subject."""
    if not (row.subject and row.subject_issuer):
        return None
    return Principal("application", row.subject_issuer, row.subject)


def read_token(
    row: TokenRow, *, names: SecretNames, client: "SecretsManagerClient", now: Clock
) -> dict[str, Any]:
    """The newest committed generation of a token, as the API shows it.

    Only the version of the committed generation is read, because another version may belong to a
    refresh that was not committed. Raises `RequestFailed` (`token_unavailable`) without a live
    token, and while it cannot be read yet: reads of Secrets Manager may lag behind its writes.
    """
    if row.slot is None or row.expires_at is None or row.expires_at <= now():
        raise _no_token()
    name = names.token(row.project, row.client, row.id, row.slot)
    errors = client.exceptions
    try:
        answer = client.get_secret_value(
            SecretId=name, VersionId=version_token(name, row.generation)
        )
    except (errors.ResourceNotFoundException, errors.InvalidRequestException):
        raise _no_token() from None
    try:
        secret = read_token_secret(answer.get("SecretString", ""))
    except UnreadableSecret:
        raise _no_token() from None
    return {
        "token": secret.token,
        "token_type": secret.token_type,
        "issued_at": rfc3339(secret.issued_at.timestamp()),
        "expires_at": rfc3339(secret.expires_at.timestamp()),
    }


def _no_token() -> RequestFailed:
    return RequestFailed("token_unavailable", "The runner has no live token right now. Retry.")
