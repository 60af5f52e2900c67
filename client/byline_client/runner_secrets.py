"""The tokens of runners from Secrets Manager, where Byline writes them. Needs the extra `aws`.

A token with a short life is written to several secrets in turn, so one of them may hold an expired
token. The newest one is used.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from byline_client.addresses import project_path
from byline_client.conversation import ServiceCall
from byline_client.documents import object_of
from byline_client.errors import ClientError, Misused, ServiceUnavailable, SignInRequired
from byline_client.runner_tokens import RunnerToken, runner_token

NAMES_SECONDS = 300.0
"""How long the names of a runner's secrets are used before they are read again."""

CONNECT_SECONDS = 5
ANSWER_SECONDS = 10
PASSING = frozenset({"ThrottlingException", "InternalServiceError", "InternalFailure"})
_reading = threading.local()


class RunnerSecrets:
    """The secrets of a runner. `ask` calls Byline, which names them. Raises `Misused`."""

    def __init__(self, ask: Callable[[ServiceCall], Any], project: str, runner: str) -> None:
        try:
            import boto3  # noqa: F401, PLC0415 - an extra
        except ImportError:
            raise Misused("Secrets Manager needs boto3: install byline-client[aws].") from None
        self._ask = ask
        self._call = ServiceCall("GET", project_path(project, "runners", runner))
        self._arns: list[str] = []
        self._next_names = 0.0
        self._clients: dict[str, Any] = {}

    def read(self) -> RunnerToken:
        """The newest token. Raises `ClientError`.

        An outage of Byline does not matter once the names of the secrets are known.
        """
        is_due = time.monotonic() >= self._next_names
        if is_due:
            self._read_names()
        newest = self._newest()
        if not is_due and (newest is None or newest.expires_at <= time.time()):
            # The runner may have another token, in other secrets, since it was changed.
            self._read_names()
            newest = self._newest()
        if newest is None:
            raise ServiceUnavailable("No secret of the runner has a token yet.")
        return newest

    def _read_names(self) -> None:
        """Read the names of the secrets. An outage leaves the known ones, if there are any."""
        try:
            self._arns = _arns(self._ask(self._call))
        except ServiceUnavailable:
            if not self._arns:
                raise
        self._next_names = time.monotonic() + NAMES_SECONDS

    def _newest(self) -> RunnerToken | None:
        found = [found for arn in self._arns if (found := self._secret(arn)) is not None]
        return max(found, key=lambda each: each[0])[1] if found else None

    def _secret(self, arn: str) -> tuple[tuple[float, int], RunnerToken] | None:
        """The token in a secret with its end and generation; None for a secret without one."""
        from botocore import exceptions  # noqa: PLC0415

        try:
            with _NoBodies():
                answer = self._client(arn).get_secret_value(SecretId=arn)
        except exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "ResourceNotFoundException":
                return None  # it is created with the first token that is written to it
            kind = ServiceUnavailable if code in PASSING else ClientError
            raise kind(f"AWS does not let this role read {arn} ({code}).") from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
            raise SignInRequired("There are no credentials for AWS.") from None
        except exceptions.BotoCoreError as error:
            raise ServiceUnavailable(
                f"Secrets Manager cannot be reached ({type(error).__name__})."
            ) from None
        try:
            document = json.loads(answer["SecretString"])
        except (KeyError, ValueError, RecursionError):
            raise ServiceUnavailable(f"The secret {arn} has no token.") from None
        token = runner_token(document)
        generation = document.get("generation")
        return (token.expires_at, generation if isinstance(generation, int) else 0), token

    def _client(self, arn: str) -> Any:
        """A client for the region of a secret."""
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        region = arn.split(":")[3]
        if region not in self._clients:
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=ANSWER_SECONDS,
                retries={"mode": "standard", "max_attempts": 3},
            )
            self._clients[region] = boto3.client(
                "secretsmanager", region_name=region, config=config
            )
        return self._clients[region]


def _arns(document: Any) -> list[str]:
    arns = object_of(document, "runner", "name").get("secret_arns")
    if not isinstance(arns, list) or not all(map(_is_arn, arns)):
        raise ServiceUnavailable("The answer of the service has no list of secret_arns.")
    return arns


def _is_arn(text: object) -> bool:
    return isinstance(text, str) and text.startswith("arn:") and text.count(":") >= 6


class _NoBodies(logging.Filter):
    """Keeps what botocore logs of answers at DEBUG, their bodies, out of the log in a block."""

    def __enter__(self) -> None:
        _reading.thread = True
        logging.getLogger("botocore.parsers").addFilter(self)

    def __exit__(self, *_: object) -> None:
        _reading.thread = False
        logging.getLogger("botocore.parsers").removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is of another thread than a reading one."""
        return not getattr(_reading, "thread", False)
