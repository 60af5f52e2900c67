"""The implementation of AWS behind the stand-ins: moto in this process, or ministack beside it.

`BYLINE_TEST_ENGINE=ministack` selects the second one (`make test-second-engine`). The stand-ins add
to both what tests need of them: faults, sizes of keys, recorded calls.
"""

import os
import re
from atexit import register
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection
from itertools import count
from typing import Any
from wsgiref.types import WSGIApplication

import boto3
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID

from local.listening import listen
from local.ministack import Ministack
from stand_ins.moto_application import backend_of, moto_application

MOTO, MINISTACK = "moto", "ministack"
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
        return moto_application()
    return _Forwarder(int(_ministack().url.rpartition(":")[2]))


@contextmanager
def dynamodb_of_new_account() -> Iterator[Any]:
    """A client of DynamoDB in an empty account, until the block ends."""
    options: dict[str, Any] = {"region_name": "us-east-1", "aws_secret_access_key": "test"}
    if selected_engine() == MOTO:
        with mock_aws():
            yield boto3.client("dynamodb", aws_access_key_id="test", **options)
    else:
        url = _ministack().url
        yield boto3.client("dynamodb", endpoint_url=url, aws_access_key_id=new_account(), **options)


def empty_table(client: Any, definition: Mapping[str, Any]) -> None:
    """Empty a table of the engine's default account, or create it. moto needs no request for it."""
    table = definition["TableName"]
    if selected_engine() == MOTO and (existing := backend_of("dynamodb").tables.get(table)):
        existing.items.clear()
        return
    if table in client.list_tables()["TableNames"]:
        if client.scan(TableName=table, Limit=1)["Count"] == 0:
            return
        client.delete_table(TableName=table)
    client.create_table(**definition)


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
            # ministack answers to its own address alone.
            if name.startswith("HTTP_") and name != "HTTP_HOST"
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
def _ministack() -> Ministack:
    """Start ministack on a free port of loopback. It ends with this process."""
    server = Ministack(listen(0), services=("dynamodb", "sqs", "secretsmanager"))
    register(server.__exit__)
    return server.__enter__()
