"""Warnings in the answer to a registration: why its runner will get no token, or misread it.

RunsFunction cannot read the values of clients' secrets. RefreshTokensFunction reads them, and keeps
what is wrong in the row of the token and in that of the client. Of a client that was never used,
Secrets Manager tells whether its secret exists.
"""

from typing import TYPE_CHECKING, Protocol, TypedDict

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name
from byline.refresh.hints import HINTS, hint_of

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient

SEVERAL_SECRETS = "several_secrets"

CODES = (*HINTS, SEVERAL_SECRETS)
"""Every `code` of a warning: the error classes of a refresh, and one more."""

logger = Logger(service="byline")


class RegistrationWarning(TypedDict):
    """A warning as the API shows it. `detail`: what is wrong, and what to do."""

    code: str
    detail: str


class FailedRefresh(Protocol):
    """Why the last refresh failed, as a token's or a client's row keeps it."""

    @property
    def error_class(self) -> str:
        """The class of the error."""
        ...

    @property
    def detail(self) -> str:
        """What went wrong, as a sentence."""
        ...


def token_warnings(
    failure: FailedRefresh | None, *, slots: int | None
) -> list[RegistrationWarning]:
    """The warnings of a token. It makes no call.

    `failure`: of its last refresh, None where that succeeded or none was tried. `slots`: the number
    of secrets that it is written to in turn, None before the first.
    """
    warnings: list[RegistrationWarning] = []
    if failure is not None:
        detail = f"{failure.detail} {hint_of(failure.error_class)}".strip()
        warnings.append(RegistrationWarning(code=failure.error_class, detail=detail))
    if slots is not None and slots > 1:
        detail = (
            f"The token is written to {slots} secrets in turn. A reader of one of them by its name"
            " finds an expired token part of the time: read docs/runners.md, Readers."
        )
        warnings.append(RegistrationWarning(code=SEVERAL_SECRETS, detail=detail))
    return warnings


def client_secret_warnings(
    name: str, *, client: "SecretsManagerClient"
) -> list[RegistrationWarning]:
    """A warning where the client's secret `name` has no value that the refresher can read.

    One call that reads no value. Where it fails nothing is known, so there is no warning: the
    runner is registered already.
    """
    try:
        secret = client.describe_secret(SecretId=name)
    except client.exceptions.ResourceNotFoundException:
        return [_unusable(f"Secrets Manager has no secret `{name}`.")]
    except (ClientError, BotoCoreError) as error:
        logger.warning("client secret not checked", error=error_name(error))
        return []
    if secret.get("DeletedDate"):
        return [_unusable(f"The secret `{name}` is marked for deletion: restore it.")]
    labels = secret.get("VersionIdsToStages", {}).values()
    if not any("AWSCURRENT" in stages for stages in labels):
        return [_unusable(f"The secret `{name}` has no value yet.")]
    return []


def _unusable(detail: str) -> RegistrationWarning:
    return RegistrationWarning(code="client_secret_unusable", detail=detail)
