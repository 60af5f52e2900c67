"""A runner's own token, for the runner itself.

Whoever may not have it learns nothing: not even whether there is such a runner.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from byline.caching import Clock
from byline.identity.caller import Principal
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import token_secret_name, version_token
from byline.tables.items import rfc3339
from serve_runs.web.problems import Problem, unavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient


class _TokenSecret(msgspec.Struct, frozen=True):
    """What the refresher writes into a runner's secret."""

    token: str
    token_type: str
    issued_at: datetime
    expires_at: datetime

    def __repr__(self) -> str:
        return "<token of a runner>"


def own_principal(row: RunnerRow) -> Principal | None:
    """The service account that the runner itself is; None where it was registered without one."""
    if not (row.subject and row.subject_issuer):
        return None
    return Principal("application", row.subject_issuer, row.subject)


def read_token(row: RunnerRow, *, client: "SecretsManagerClient", now: Clock) -> dict[str, Any]:
    """The runner's newest token that was committed, as the API answers it.

    Exactly that version: what the secret holds beside it may be a refresh that did not count.
    Raises `Problem` 503 while there is none, or none that lives, or none to be seen yet: reads of
    Secrets Manager may be behind its writes.
    """
    if row.slot is None or row.expires_at is None or row.expires_at <= now():
        raise _no_token()
    name = token_secret_name(row.project, row.runner, row.slot)
    errors = client.exceptions
    try:
        answer = client.get_secret_value(
            SecretId=name, VersionId=version_token(name, row.generation)
        )
    except (errors.ResourceNotFoundException, errors.InvalidRequestException):
        raise _no_token() from None
    secret = _read(answer.get("SecretString", ""))
    return {
        "token": secret.token,
        "token_type": secret.token_type,
        "issued_at": rfc3339(secret.issued_at.timestamp()),
        "expires_at": rfc3339(secret.expires_at.timestamp()),
    }


def _read(text: str) -> _TokenSecret:
    try:
        return msgspec.json.decode(text, type=_TokenSecret)
    except (msgspec.MsgspecError, UnicodeError):
        # Refused outside the handler: errors may carry the text.
        pass
    raise _no_token()


def _no_token() -> Problem:
    return unavailable("token_unavailable", "There is no token for this runner right now.")
