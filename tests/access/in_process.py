"""RunsFunction with AWS in the same process, so that thousands of requests need no network.

`table_server` simulates failures of AWS (lost answers, conflicts); this module does not.
"""

import json
import pickle
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

import boto3
from moto import mock_aws

from byline.aws import dynamodb, secrets_manager, sqs
from serve_runs.calls import Api
from stand_ins.moto_application import backend_of, speed_up
from tests.access.model import ANONYMOUS, Caller, actor_of, named_person
from tests.refresh.world import SECRETS
from tests.runs import identity_server
from tests.runs.identity_server import Credential, Web
from tests.runs.runs_api import Answer, Context, build_function, request
from tests.runs.table_server import ACCESS_TABLE, RUNNERS_TABLE, TABLE, table_definition

QUEUE = "RefreshQueue"
TOKEN_SECONDS = 60
"""How long a caller's token is reused. Every token is valid for longer."""


class InProcess:
    """The function in one environment, the credentials of its callers, and the tables behind it."""

    def __init__(self, function: Api, web: Web) -> None:
        self.function = function
        self.web = web
        self._credentials: dict[Caller, tuple[float, Credential]] = {}
        self._requests = count()

    def credential(self, caller: Caller) -> Credential:
        """A caller's credential, at most `TOKEN_SECONDS` old."""
        if caller == ANONYMOUS:
            return identity_server.NO_CREDENTIAL
        issued_at, credential = self._credentials.get(caller, (0.0, identity_server.NO_CREDENTIAL))
        if time.monotonic() - issued_at > TOKEN_SECONDS or not issued_at:
            credential = self._new_credential(caller)
            self._credentials[caller] = time.monotonic(), credential
        return credential

    def _new_credential(self, caller: Caller) -> Credential:
        kind, subject = actor_of(caller)
        person = named_person(caller)
        if person is not None:
            claims = {"act": {"sub": subject}, "auth_time": int(time.time())}
            return self.web.bearer(person[1], f"client-of-{subject}", **claims)
        if kind == "workload":
            return self.web.bearer(subject, subject, iss=self.issuer(caller), team="acme")
        if kind == "application":
            return self.web.bearer(subject, subject)
        return self.web.browser(subject)

    def issuer(self, caller: Caller) -> str:
        """The issuer of a caller's credential."""
        return workload_issuer(self.web) if caller[0] == "workload" else self.web.url

    def send(
        self,
        caller: Caller,
        method: str,
        path: str,
        *,
        document: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return its answer."""
        is_json = document is not None
        event = request(
            method,
            path,
            by=self.credential(caller),
            headers=[("content-type", "application/json")] if is_json else [],
            query=query or {},
            body=json.dumps(document) if is_json else None,
        )
        context = Context(f"00000000-0000-4000-8000-{next(self._requests):012}")
        answer = self.function.handle(event, cast(Any, context))
        headers = {name.lower(): value for name, [value] in answer["multiValueHeaders"].items()}
        return Answer(answer["statusCode"], headers, answer["body"])


class AwsInProcess:
    """AWS in this process: moto's own data structures, which requests would take long to change."""

    def empty(self) -> None:
        """Delete all rows, secrets and messages."""
        self.restore(pickle.dumps(({}, {})))

    def saved(self) -> bytes:
        """All rows and secrets, for `restore`."""
        tables = backend_of("dynamodb").tables.items()
        rows = {name: table.items for name, table in tables}
        return pickle.dumps((rows, backend_of("secretsmanager").secrets))

    def restore(self, saved: bytes) -> None:
        """Replace all rows and secrets by the saved ones, and delete all messages."""
        rows, secrets = pickle.loads(saved)  # noqa: S301 - of this process
        for name, table in backend_of("dynamodb").tables.items():
            table.items.clear()
            table.items.update(rows.get(name, {}))
        backend_of("secretsmanager").reset()
        backend_of("secretsmanager").secrets.update(secrets)
        backend_of("sqs").reset()
        backend_of("sqs").create_queue(QUEUE)


@contextmanager
def aws_in_process() -> Iterator[AwsInProcess]:
    """Run AWS in this process until the block ends."""
    speed_up()
    for client in (dynamodb, sqs, secrets_manager):
        client.cache_clear()
    with mock_aws():
        for table in (TABLE, ACCESS_TABLE, RUNNERS_TABLE):
            boto3.client("dynamodb").create_table(**table_definition(table))
        boto3.client("sqs").create_queue(QueueName=QUEUE)
        yield AwsInProcess()
    for client in (dynamodb, sqs, secrets_manager):
        client.cache_clear()


def workload_issuer(web: Web) -> str:
    """The issuer of workloads' tokens, beside the one of people and applications."""
    return f"{web.url}/jobs"


def trusted_issuers(web: Web) -> str:
    """The setting that trusts both, and publishes the keys of the second one."""
    keys = f"{workload_issuer(web)}/keys"
    web.publish(
        "/jobs/.well-known/openid-configuration",
        {
            "issuer": workload_issuer(web),
            "jwks_uri": keys,
        },
    )
    web.publish("/jobs/keys", web.pages["/keys"])
    return json.dumps(
        [
            {"issuer": web.url, "audiences": ["byline"], "profile": "generic"},
            {
                "issuer": workload_issuer(web),
                "audiences": ["byline"],
                "profile": "workload",
                "allow": {"team": "acme"},
            },
        ]
    )


def load(web: Web, **changes: str) -> InProcess:
    """RunsFunction, built with these environment variables beside the usual ones."""
    environment = {
        **web.environment(),
        "RUNS_TABLE": TABLE,
        "RUNNERS_TABLE": RUNNERS_TABLE,
        "ACCESS_TABLE": ACCESS_TABLE,
        "SECRET_PREFIX": SECRETS.prefix,
        "POWERTOOLS_SERVICE_NAME": "stage",
        "REFRESH_QUEUE_URL": f"https://sqs.us-east-1.amazonaws.com/123456789012/{QUEUE}",
        **changes,
    }
    return InProcess(build_function(environment), web)
