"""RunsFunction with AWS in the same process: thousands of requests, none of them over a network.

What its tests of AWS's troubles need (lost answers, conflicts) is not here: see `table_server`.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

import boto3
from moto import mock_aws
from moto.backends import get_backend

from byline.aws import dynamodb, secrets_manager, sqs
from serve_runs.calls import Api
from tests.access.model import NOBODY, Who
from tests.runs import identity_server
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, Context, build_function, request
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, TABLE, table_definition

QUEUE = "RefreshQueue"
TOKEN_SECONDS = 60
"""For how long a caller's token is used: all of them live longer."""


class InProcess:
    """The function in one environment, its callers, and the tables behind it."""

    def __init__(self, function: Api, web: Web) -> None:
        self.function = function
        self.web = web
        self._credentials: dict[Who, tuple[float, Credential]] = {}
        self._requests = count()

    def credential(self, who: Who) -> Credential:
        """What somebody calls with, of this minute."""
        if who == NOBODY:
            return identity_server.NOBODY
        made, credential = self._credentials.get(who, (0.0, identity_server.NOBODY))
        if time.monotonic() - made > TOKEN_SECONDS or not made:
            kind, subject = who
            bearer = kind == "application"
            credential = self.web.bearer(subject, subject) if bearer else self.web.browser(subject)
            self._credentials[who] = time.monotonic(), credential
        return credential

    def send(
        self,
        who: Who,
        method: str,
        path: str,
        *,
        document: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request and its answer."""
        is_json = document is not None
        event = request(
            method,
            path,
            by=self.credential(who),
            headers=[("content-type", "application/json")] if is_json else [],
            query=query or {},
            body=json.dumps(document) if is_json else None,
        )
        context = Context(f"00000000-0000-4000-8000-{next(self._requests):012}")
        answer = self.function.handle(event, cast(Any, context))
        headers = {name.lower(): value for name, [value] in answer["multiValueHeaders"].items()}
        return Answer(answer["statusCode"], headers, answer["body"])


@contextmanager
def aws_in_process() -> Iterator[Callable[[], None]]:
    """AWS for as long as it lasts; gives what empties it."""
    for client in (dynamodb, sqs, secrets_manager):
        client.cache_clear()
    with mock_aws():
        for table in (TABLE, ACCESS_TABLE, RUNNERS_TABLE):
            boto3.client("dynamodb").create_table(**table_definition(table))
        boto3.client("sqs").create_queue(QueueName=QUEUE)
        yield _empty
    for client in (dynamodb, sqs, secrets_manager):
        client.cache_clear()


def load(web: Web, **changes: str) -> InProcess:
    """The function for changed variables."""
    environment = {
        **web.environment(),
        "RUNS_TABLE": TABLE,
        "RUNNERS_TABLE": RUNNERS_TABLE,
        "ACCESS_TABLE": ACCESS_TABLE,
        "REFRESH_QUEUE_URL": f"https://sqs.us-east-1.amazonaws.com/123456789012/{QUEUE}",
        **changes,
    }
    return InProcess(build_function(environment), web)


def _empty() -> None:
    """As moto keeps them: to make tables anew takes as long as ten requests."""
    for table in _backend("dynamodb").tables.values():
        table.items.clear()
    _backend("secretsmanager").reset()
    _backend("sqs").reset()
    _backend("sqs").create_queue(QUEUE)


def _backend(service: str) -> Any:
    return get_backend(service)["123456789012"]["us-east-1"]  # type: ignore[call-overload]
