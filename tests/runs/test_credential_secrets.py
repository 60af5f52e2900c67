"""Settings of credentials' secrets: their key, and for how long a deleted one can be restored."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from byline.errors import Misconfigured
from serve_runs.credentials.secrets import CredentialSecrets
from tests.identity.bearer_issuer import without
from tests.refresh.world import SECRETS
from tests.runs.credentials_api import CredentialsApi
from tests.runs.identity_server import Credential, Web
from tests.runs.runners_api import RunnersApi

KEY = "arn:aws:kms:us-east-1:123456789012:key/0f6b4bbe-1234-11f0-8f6a-0a1b2c3d4e5f"


def requests_of(credentials: CredentialsApi, operation: str) -> list[dict[str, Any]]:
    """The bodies of the calls of this operation."""
    calls = credentials.world.aws.calls
    return [call.document for call in calls if call.operation == operation]


@pytest.mark.parametrize(("setting", "sent"), [({"SECRETS_KMS_KEY": KEY}, KEY), ({}, None)])
def test_new_secret_is_encrypted_with_the_operators_key(
    start_runners: Callable[..., RunnersApi],
    ada: Credential,
    web: Web,
    setting: dict[str, str],
    sent: str | None,
) -> None:
    """With KmsKeyArn each new secret has that key, without it the one that AWS manages."""
    credentials = CredentialsApi(start_runners(**setting), web.url)
    assert credentials.put(ada).status == 201
    [request] = requests_of(credentials, "CreateSecret")
    assert request.get("KmsKeyId") == sent


@pytest.mark.parametrize(
    ("setting", "sent"),
    [
        ({}, {"RecoveryWindowInDays": 7}),
        ({"SECRET_RECOVERY_DAYS": "30"}, {"RecoveryWindowInDays": 30}),
        ({"SECRET_RECOVERY_DAYS": "0"}, {"ForceDeleteWithoutRecovery": True}),
    ],
)
def test_deleted_secret_is_kept_as_the_operator_says(
    start_runners: Callable[..., RunnersApi],
    ada: Credential,
    web: Web,
    setting: dict[str, str],
    sent: dict[str, Any],
) -> None:
    """A deleted secret can be restored for SecretRecoveryDays; with 0 it is deleted at once."""
    credentials = CredentialsApi(start_runners(**setting), web.url)
    assert credentials.put(ada).status == 201
    assert credentials.delete(ada).status == 204
    [request] = requests_of(credentials, "DeleteSecret")
    assert without(request, "SecretId") == sent


def test_credential_deleted_at_once_can_be_written_again(
    start_runners: Callable[..., RunnersApi], ada: Credential, web: Web
) -> None:
    """A put of the same name waits until AWS has completed the deletion."""
    credentials = CredentialsApi(start_runners(SECRET_RECOVERY_DAYS="0"), web.url)
    assert credentials.put(ada).status == 201
    assert credentials.delete(ada).status == 204
    assert credentials.put(ada).status == 503
    credentials.world.clock.advance(120)
    assert credentials.put(ada).status == 201


@pytest.mark.parametrize("text", ["", "[]", "{", '{"more":' + "[" * 10_000 + "]" * 10_000 + "}"])
def test_secret_of_another_form_is_unreadable(text: str) -> None:
    """A secret that was changed by hand is not answered, however deeply it is nested."""
    refusals = SimpleNamespace(ResourceNotFoundException=KeyError, InvalidRequestException=KeyError)
    client: Any = SimpleNamespace(
        get_secret_value=lambda **_: {"SecretString": text}, exceptions=refusals
    )
    secrets = CredentialSecrets(lambda: client, names=SECRETS, kms_key="", recovery_days=7)
    assert secrets.read("a", "b" * 32) is None


@pytest.mark.parametrize("days", ["1", "6", "31", "-7", "a week"])
def test_recovery_that_aws_refuses_stops_the_cold_start(
    start_runners: Callable[..., RunnersApi], days: str
) -> None:
    """A number of days other than 0 or 7 to 30 is found at the cold start."""
    with pytest.raises(Misconfigured, match="SECRET_RECOVERY_DAYS"):
        start_runners(SECRET_RECOVERY_DAYS=days)
