"""SnapStart: the work of a first request, done before the snapshot is taken.

Without SnapStart this module is not imported, because it would make cold starts longer.
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-best-practices.html
"""

import os
import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from aws_lambda_powertools import Logger
from botocore.awsrequest import AWSRequest, AWSResponse, HTTPHeaders
from urllib3 import HTTPResponse

from byline.aws import dynamodb, error_name, error_places, secrets_manager, sqs
from byline.identity.caller import ANONYMOUS
from byline.identity.identity import Identity
from byline.later_credentials import throwaway_credentials
from byline.tls import contexts
from serve_runs.access.control import question
from serve_runs.access.decisions import Resource, decisions, role_names

logger = Logger(service="byline")

_SEED_BYTES = 48


def prime(handler: Callable[..., Any], *, identity: Identity) -> None:
    """Load the modules and run the code that requests need, before the snapshot.

    No request leaves the function, so the snapshot has no connection, no credentials and no key
    that may be withdrawn later. A failed step is logged, and left to the first request.
    """
    steps: dict[str, Callable[[], object]] = {
        "bearer": lambda: identity.bearer_tokens,
        "tls": _load_tls,
        "routes": lambda: _answer_requests(handler),
        "aws": _build_requests,
        "policies": _decide,
        "restore": _renew_after_restore,
    }
    for step, run in steps.items():
        try:
            run()
        except Exception as error:
            name, places = error_name(error), error_places(error)
            logger.warning("not primed", step=step, error=name, at=places)


def _load_tls() -> None:
    for host in ("public-keys.auth.elb.us-east-1.amazonaws.com", "issuer.example"):
        host.encode("idna")  # loads the codec that resolves host names
        for _ in contexts(host):
            pass


def _decide() -> None:
    resource = Resource("Project", "priming")
    context = {"source": "none", "verified": False}
    asked = question(ANONYMOUS, "read_run", resource, roles=(), context=context)
    decisions().answer(asked)
    role_names()


def _answer_requests(handler: Callable[..., Any]) -> None:
    """Answer one request with 200 and one with 404. Neither changes a metric or the log."""
    context = SimpleNamespace(aws_request_id="priming")
    for path in ("/healthz", "/"):
        event = {"httpMethod": "GET", "path": path, "multiValueHeaders": {"host": ["priming"]}}
        handler(event, context)


def _build_requests() -> None:
    """Build each kind of request to AWS, without sending it."""
    of_table: dict[str, Any] = {"TableName": "priming"}
    with throwaway_credentials(), _answered(dynamodb()) as table:
        table.put_item(**of_table, Item={})
        table.get_item(**of_table, Key={})
        table.batch_get_item(RequestItems={})
        table.delete_item(**of_table, Key={})
        table.query(**of_table)
        table.transact_write_items(TransactItems=[])
    with throwaway_credentials(), _answered(sqs()) as queue:
        queue.send_message(QueueUrl="https://queue.example/priming", MessageBody="{}")
    with throwaway_credentials(), _answered(secrets_manager()) as secrets:
        secrets.get_secret_value(SecretId="priming")


@contextmanager
def _answered(client: Any) -> Iterator[Any]:
    """`client`, whose requests are not sent but get an empty answer until the block ends."""
    event = "before-send"
    client.meta.events.register(event, _empty_answer, unique_id="priming")
    try:
        yield client
    finally:
        client.meta.events.unregister(event, unique_id="priming")


def _empty_answer(request: AWSRequest, **_: Any) -> AWSResponse:
    raw = HTTPResponse(BytesIO(b"{}"), preload_content=False)
    return AWSResponse(str(request.url), 200, HTTPHeaders(), raw)


def _renew_after_restore() -> None:
    # A module of the runtime, which exists in Lambda only.
    from snapshot_restore_py import (  # type: ignore[import-untyped] # noqa: PLC0415
        register_after_restore,
    )

    register_after_restore(renew)


def renew() -> None:
    """Renew connections and random numbers after a restore: snapshot copies must not share them.

    `random` spreads retries. Ids use the operating system's random numbers. TLS uses OpenSSL's, and
    AWS names no version after 1.0.2 whose generator is renewed after a restore.
    https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
    """
    random.seed()
    ssl.RAND_add(os.urandom(_SEED_BYTES), _SEED_BYTES)
    for client in (dynamodb(), sqs(), secrets_manager()):
        client.close()
