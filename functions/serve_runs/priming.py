"""SnapStart: what a first request would pay for is done before the snapshot is taken.

Without SnapStart the opposite is right, and nothing here is loaded: what a request does not need,
it does not wait for. https://docs.aws.amazon.com/lambda/latest/dg/snapstart-best-practices.html
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from aws_lambda_powertools import Logger
from botocore.awsrequest import AWSRequest, AWSResponse, HTTPHeaders
from urllib3 import HTTPResponse

from byline.aws import dynamodb, secrets_manager, sqs
from byline.identity.caller import ANONYMOUS
from byline.identity.identity import Identity
from byline.tls import contexts
from serve_runs.access.decisions import Resource, decisions, role_names

logger = Logger(service="byline")


def prime(handler: Callable[..., Any], *, identity: Identity) -> None:
    """Load and run before the snapshot what requests will need.

    Nothing is asked of anybody: there is no key in the snapshot that was withdrawn since, and no
    connection. What fails is logged, and is then paid for by the first request; it never fails the
    deployment.
    """
    steps: dict[str, Callable[[], object]] = {
        "bearer": lambda: identity.bearer_tokens,
        "tls": _load_tls,
        "routes": lambda: _answer_requests(handler),
        "aws": _ask_nobody,
        "policies": _decide,
        "restore": _renew_after_restore,
    }
    for step, run in steps.items():
        try:
            run()
        except Exception:
            logger.warning("not primed", step=step, exc_info=True)


def _load_tls() -> None:
    for host in ("public-keys.auth.elb.us-east-1.amazonaws.com", "issuer.example"):
        host.encode("idna")  # loads what names are resolved by
        for _ in contexts(host):
            pass


def _decide() -> None:
    resource = Resource("Project", "priming")
    context = {"source": "none", "verified": False}
    decisions().permits(ANONYMOUS, "read_run", resource, roles=(), context=context)
    role_names()


def _answer_requests(handler: Callable[..., Any]) -> None:
    """One request that is answered and one that is not: neither counts nor logs anything."""
    context = SimpleNamespace(aws_request_id="priming")
    for path in ("/healthz", "/"):
        event = {"httpMethod": "GET", "path": path, "multiValueHeaders": {"host": ["priming"]}}
        handler(event, context)


def _ask_nobody() -> None:
    """Each kind of request that is made of AWS, up to the point where it would be sent."""
    of_table: dict[str, Any] = {"TableName": "priming"}
    with _answered(dynamodb()) as table:
        table.put_item(**of_table, Item={})
        table.get_item(**of_table, Key={})
        table.batch_get_item(RequestItems={})
        table.delete_item(**of_table, Key={})
        table.query(**of_table)
        table.transact_write_items(TransactItems=[])
    with _answered(sqs()) as queue:
        queue.send_message(QueueUrl="https://queue.example/priming", MessageBody="{}")
    with _answered(secrets_manager()) as secrets:
        secrets.get_secret_value(SecretId="priming")


@contextmanager
def _answered(client: Any) -> Iterator[Any]:
    """`client`, whose requests are answered here until the block ends."""
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
    # The runtime's own module: outside of Lambda it is not there.
    from snapshot_restore_py import (  # type: ignore[import-untyped] # noqa: PLC0415
        register_after_restore,
    )

    register_after_restore(renew)


def renew() -> None:
    """After a restore: no copy of the snapshot shares a connection or its random numbers.

    Ids and tokens are drawn from the operating system and need nothing; `random` spreads retries.
    """
    random.seed()
    for client in (dynamodb(), sqs(), secrets_manager()):
        client.close()
