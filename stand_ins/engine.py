"""The implementation of AWS behind the stand-ins: moto in this process, or ministack beside it.

`BYLINE_TEST_ENGINE=ministack` selects the second one (`make test-second-engine`). The stand-ins add
to both what tests need of them: faults, roles, sizes of keys, recorded calls.
"""

import os
import re
import subprocess
import time
from atexit import register
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from socket import create_connection, create_server
from tempfile import TemporaryDirectory
from typing import Any
from wsgiref.types import WSGIApplication

import boto3
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

ROOT = Path(__file__).parents[1]
MOTO, MINISTACK = "moto", "ministack"
START_SECONDS = 60
ACCOUNT_HEADER = "HTTP_X_MOTO_ACCOUNT_ID"
HOP_BY_HOP = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})

_accounts = count(111_111_111_111)


def selected_engine() -> str:
    """The name of the engine that the environment selects."""
    engine = os.environ.get("BYLINE_TEST_ENGINE", MOTO)
    if engine not in {MOTO, MINISTACK}:
        raise ValueError(f"BYLINE_TEST_ENGINE is {engine!r}. Engines: {MOTO}, {MINISTACK}.")
    return engine


def new_account() -> str:
    """The number of an account that nobody has used: its tables, queues and secrets are empty."""
    return str(next(_accounts))


@cache
def application() -> WSGIApplication:
    """The engine as a WSGI application. The header `x-moto-account-id` names the account."""
    if selected_engine() == MOTO:
        moto: WSGIApplication = DomainDispatcherApplication(create_backend_app)
        return moto
    return _Forwarder(_ministack_port())


@contextmanager
def dynamodb_of_new_account() -> Iterator[Any]:
    """A client of DynamoDB in an empty account, until the block ends."""
    options: dict[str, Any] = {"region_name": "us-east-1", "aws_secret_access_key": "test"}
    if selected_engine() == MOTO:
        with mock_aws():
            yield boto3.client("dynamodb", aws_access_key_id="test", **options)
    else:
        url = f"http://127.0.0.1:{_ministack_port()}"
        yield boto3.client("dynamodb", endpoint_url=url, aws_access_key_id=new_account(), **options)


class _Forwarder:
    """A WSGI application that passes requests on to ministack."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {
            name[5:].replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        if kind := environ.get("CONTENT_TYPE"):
            headers["CONTENT-TYPE"] = kind
        # ministack reads the account from the access key, and does not check the signature.
        account = environ.get(ACCOUNT_HEADER, DEFAULT_ACCOUNT_ID)
        signature = headers.get("AUTHORIZATION", "")
        headers["AUTHORIZATION"] = re.sub(r"Credential=[^/]+", f"Credential={account}", signature)
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        kept = [pair for pair in answer.getheaders() if pair[0].lower() not in HOP_BY_HOP]
        start_response(f"{answer.status} {answer.reason or 'answered'}", kept)
        return [content]


@cache
def _ministack_port() -> int:
    """Start ministack on a free port of loopback. It ends with this process."""
    with create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    folder = TemporaryDirectory(prefix="ministack-")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": folder.name,
        "TMPDIR": folder.name,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "dynamodb,sqs,secretsmanager",
        "LOG_LEVEL": "WARNING",
    }
    server = subprocess.Popen(  # noqa: S603 - our own environment
        [ROOT / ".venv-second-engine/bin/ministack"],
        cwd=folder.name,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def stop() -> None:
        server.kill()
        server.wait()
        folder.cleanup()

    register(stop)
    ends_at = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < ends_at:
        try:
            create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return port
    raise RuntimeError(f"ministack did not listen on port {port} within {START_SECONDS} seconds.")
