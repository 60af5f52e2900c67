"""Clients of AWS services. Each is made once, at its first use.

botocore is used directly: boto3 would add its import time and nothing that Byline uses.
"""

import logging
import os
import re
from functools import cache
from pathlib import Path
from threading import Lock
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, TypedDict

import botocore
import certifi
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, SSLError
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.session import Session, get_session

from byline.tls import aws_bundle

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_secretsmanager.client import SecretsManagerClient
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sts.client import STSClient

for _library in ("botocore", "urllib3"):
    # At DEBUG botocore logs each request and answer, with the secrets in them. Lambda sets the root
    # logger to the level that an operator chooses for the function.
    logging.getLogger(_library).setLevel(logging.WARNING)

CONNECT_TIMEOUT_SECONDS = 1
READ_TIMEOUT_SECONDS = 3

CONNECTIONS = 16
"""The most connections of one client. Each costs a TLS context, so one is opened only when a thread
needs it."""

_CONFIG = Config(
    connect_timeout=CONNECT_TIMEOUT_SECONDS,
    read_timeout=READ_TIMEOUT_SECONDS,
    retries={"mode": "standard", "total_max_attempts": 3},
    # By default botocore composes it from two dozen parts, twice a request: 12% of a call's time.
    user_agent=f"byline botocore/{botocore.__version__}",
    # Requests are built from checked values, and the service checks them again.
    parameter_validation=False,
    max_pool_connections=CONNECTIONS,
    tcp_keepalive=True,
)

_CODE = re.compile(r"(?=.{3,64}$)(?:[A-Z][A-Za-z]*\.)*[A-Z][A-Za-z]*|[1-5]\d\d")
"""AWS's codes, such as `ThrottlingException` and `AWS.SimpleQueueService.QueueDeletedRecently`. The
code of an answer without one is its HTTP status."""

_PASSING = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)


@cache
def dynamodb() -> "DynamoDBClient":
    """The client of DynamoDB, for the region and the endpoint that the environment names."""
    client: DynamoDBClient = _client("dynamodb")
    return client


@cache
def sqs() -> "SQSClient":
    """The client of SQS."""
    client: SQSClient = _client("sqs")
    return client


@cache
def secrets_manager() -> "SecretsManagerClient":
    """The client of Secrets Manager."""
    client: SecretsManagerClient = _client("secretsmanager")
    return client


@cache
def sts() -> "STSClient":
    """The client of STS in the region, where web identity tokens are signed."""
    client: STSClient = _client("sts")
    return client


class Encryption(TypedDict, total=False):
    """The key with which `CreateSecret` encrypts."""

    KmsKeyId: str


def encrypted_with(kms_key: str) -> Encryption:
    """The parameters of `CreateSecret` for this key; without one AWS takes its own key."""
    return {"KmsKeyId": kms_key} if kms_key else {}


def is_passing(error: ClientError | BotoCoreError) -> bool:
    """Whether the same call may succeed later: throttling, a conflict, an outage or the network."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error.response.get("Error", {}).get("Code") in _PASSING
    return isinstance(error, HTTPClientError | NoConnectionError)


def error_name(error: Exception) -> str:
    """The name of an error for logs: AWS's error code, or the class of any other error.

    The error's message is not used, because it may quote the request.
    """
    if isinstance(error, ClientError):
        return code_name(str(error.response.get("Error", {}).get("Code")))
    return type(error).__name__


def code_name(code: str) -> str:
    """AWS's error code for logs; `ClientError` for text that does not look like a code.

    A code is whatever the peer sent as one, so it may quote the request too.
    """
    return code if _CODE.fullmatch(code) else "ClientError"


def error_places(error: Exception) -> list[str]:
    """The places in the code that an error came through, as `file:line`, for logs.

    A traceback ends with the error's message, which may quote a secret.
    """
    return [f"{Path(at.filename).name}:{at.lineno}" for at in extract_tb(error.__traceback__)]


_creating = Lock()
"""A session is not thread-safe, and a client is."""


@cache
def _session() -> Session:
    """The session of all clients, which reads botocore's data once."""
    session = get_session()
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        from byline.later_credentials import load_credentials_later  # noqa: PLC0415

        load_credentials_later(session)
    return session


def _client(service: str) -> Any:
    with _creating:
        client: Any = _session().create_client(service, config=_CONFIG, verify=aws_bundle())
    if "AWS_CA_BUNDLE" not in os.environ:
        service_id = client.meta.service_model.service_id.hyphenize()
        hook = f"needs-retry.{service_id}"
        client.meta.events.register_first(hook, _trust_all_roots)
    return client


def _trust_all_roots(
    *, endpoint: Any, caught_exception: Exception | None = None, **_: Any
) -> float | None:
    """Retry with all public roots after a certificate that Amazon's roots do not sign.

    It keeps the service available should AWS use other roots one day. An operator's own bundle is
    never extended.
    """
    session = endpoint.http_session
    if not isinstance(caught_exception, SSLError) or session._verify == certifi.where():
        return None
    session._verify = certifi.where()
    return 0.0  # seconds until the retry
