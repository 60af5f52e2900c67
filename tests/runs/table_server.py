"""DynamoDB on loopback: moto's, with what moto lacks of the real one's behaviour under trouble.

Every request passes `DynamoDb`, which counts it and can lose an answer, or answer itself. What the
function asks for is held to its role in the template, and its keys to the sizes that they may have.
Two promises of DynamoDB's are kept that moto does not keep: a transaction's `ClientRequestToken`
makes its repetition harmless, and of two transactions at the same time one is told of the conflict.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

import json
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from threading import Lock, Thread
from typing import Any

import boto3
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords
from werkzeug.serving import WSGIRequestHandler, make_server

from local.aws import ROOT
from local.template import Template
from stand_ins.engine import application
from stand_ins.key_sizes import bad_keys
from stand_ins.role import RUNS_ROLE, refused

TABLE = "RunsTable"
ACCESS_TABLE = "AccessTable"
RUNNERS_TABLE = "RunnersTable"
FUNCTION = "byline botocore"
"""What the function calls itself. What tests ask for themselves is not held to its role."""

WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request that reached the server: its operation and its document."""

    operation: str
    document: dict[str, Any]

    @property
    def is_sighting(self) -> bool:
        """Whether it keeps what a caller is called: whoever calls first in a process causes it."""
        return bool(self.document.get("Key", {}).get("entry") == {"S": "profile"})


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """The next `operation` is done, and its answer never arrives."""

    operation: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The next `operation` is not done: `code`, with `members` beside it, is the answer."""

    operation: str
    code: str
    status: int = 400
    members: dict[str, Any] = field(default_factory=dict)

    def answer(self, start_response: Any) -> list[bytes]:
        document = {"__type": f"com.amazonaws.dynamodb.v20120810#{self.code}", **self.members}
        start_response(f"{self.status} refused", [("Content-Type", "application/x-amz-json-1.0")])
        return [json.dumps(document).encode()]


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Somebody else acts just before the next `operation` is done."""

    operation: str
    act: Callable[[], object]


def conflict(reasons: int = 2, *, code: str = "TransactionConflict") -> Refusal:
    """A transaction that another one was in the way of."""
    members = {
        "Message": "Transaction cancelled",
        "CancellationReasons": [{"Code": code, "Message": "in the way"}] * reasons,
    }
    return Refusal("TransactWriteItems", "TransactionCanceledException", members=members)


class DynamoDb:
    """A WSGI application around moto's. `troubles` happen in their order, each once.

    `calls` are all but the `sightings` of callers.
    """

    def __init__(self, *, role: str = RUNS_ROLE) -> None:
        self._role = role
        self.calls: list[Call] = []
        self.sightings: list[Call] = []
        self.troubles: deque[LostAnswer | Refusal | Meanwhile] = deque()
        self.url = ""
        self._engine: Any = application()
        self._done: dict[str, list[Any]] = {}
        self._one_at_a_time = Lock()
        self._transactions = Lock()

    @property
    def client(self) -> Any:
        """A client of its own, for looking behind the function's back."""
        return boto3.client("dynamodb", endpoint_url=self.url, region_name="us-east-1")

    def writes(self) -> list[Call]:
        """The writes that were asked for, done or not."""
        return [call for call in self.calls if call.operation in WRITES]

    def rows(self, table: str = TABLE) -> list[dict[str, Any]]:
        """Every row of a table: of the runs', tombstones and idempotency records too."""
        rows: list[dict[str, Any]] = self.client.scan(TableName=table, ConsistentRead=True)["Items"]
        return rows

    def reset(self) -> None:
        """Empty tables, and nothing remembered."""
        self.troubles.clear()
        self._done.clear()
        client = self.client
        there = client.list_tables()["TableNames"]
        for table in (TABLE, ACCESS_TABLE, RUNNERS_TABLE):
            if table in there:
                client.delete_table(TableName=table)
            client.create_table(**table_definition(table))
        self.calls.clear()
        self.sightings.clear()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        operation = environ.get("HTTP_X_AMZ_TARGET", ".").partition(".")[2]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        call = Call(operation, json.loads(body or b"{}"))
        (self.sightings if call.is_sighting else self.calls).append(call)
        trouble = None
        if self.troubles and self.troubles[0].operation == operation:
            trouble = self.troubles.popleft()
        if isinstance(trouble, Refusal):
            return trouble.answer(start_response)
        if isinstance(trouble, Meanwhile):
            trouble.act()
        if _is_functions(environ) and (denied := refused(operation, body, role=self._role)):
            return Refusal(
                operation, "AccessDeniedException", members={"Message": f"not allowed: {denied}"}
            ).answer(start_response)
        if words := reserved_words(json.loads(body or b"{}")):
            return Refusal(
                operation, "ValidationException", members={"Message": f"reserved: {words}"}
            ).answer(start_response)
        if _is_functions(environ) and (
            keys := bad_keys(json.loads(body), definition=table_definition)
        ):
            return Refusal(
                operation, "ValidationException", members={"Message": f"no keys: {keys}"}
            ).answer(start_response)
        if operation == "TransactWriteItems":
            answer = self._transact(environ, json.loads(body).get("ClientRequestToken", ""))
        else:
            answer = self._ask_engine(environ)
        if isinstance(trouble, LostAnswer):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        status, headers, chunks = answer
        start_response(status, headers)
        return chunks  # type: ignore[no-any-return]

    def _transact(self, environ: dict[str, Any], token: str) -> list[Any]:
        if token in self._done:
            return self._done[token]
        if not self._transactions.acquire(blocking=False):
            answer: list[Any] = []
            chunks = conflict().answer(lambda *head: answer.extend(head))
            return [*answer, chunks]
        try:
            answer = self._ask_engine(environ)
        finally:
            self._transactions.release()
        if token and answer[0].startswith("200"):
            self._done[token] = answer
        return answer

    def _ask_engine(self, environ: dict[str, Any]) -> list[Any]:
        head: list[Any] = []
        with self._one_at_a_time:
            chunks = list(self._engine(environ, lambda *started: head.extend(started)))
        return [*head[:2], chunks]


def _is_functions(environ: dict[str, Any]) -> bool:
    """Whether the function asks it, of DynamoDB: other services are asked at this address too."""
    return FUNCTION in environ.get("HTTP_USER_AGENT", "") and environ.get(
        "HTTP_X_AMZ_TARGET", ""
    ).startswith("DynamoDB_")


def reserved_words(document: Any) -> set[str]:
    """The reserved words in a request's expressions: DynamoDB refuses them all, moto some."""
    if isinstance(document, list):
        return set().union(*map(reserved_words, document))
    if not isinstance(document, dict):
        return set()
    words: set[str] = set()
    for name, value in document.items():
        if name.endswith("Expression") and isinstance(value, str):
            names = set(re.findall(r"(?<![:#\w])[a-z_]\w*", value))
            words |= {word for word in names if word.upper() in _RESERVED}
        else:
            words |= reserved_words(value)
    return words


_RESERVED = frozenset(ReservedKeywords.get_reserved_keywords())


@cache
def table_definition(table: str) -> dict[str, Any]:
    """The table as `template.yaml` has it, as far as its rows go."""
    tables = Template.read(ROOT / "template.yaml").resources("AWS::DynamoDB::Table")
    properties = tables[table]["Properties"]
    names = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    return {"TableName": table, **{name: properties[name] for name in names}}


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        pass


@contextmanager
def serve_dynamodb(*, role: str = RUNS_ROLE) -> Iterator[DynamoDb]:
    """The server, on a port of its own, until the block ends; it holds the function to `role`."""
    dynamodb = DynamoDb(role=role)
    server = make_server("127.0.0.1", 0, dynamodb, threaded=True, request_handler=_Silent)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    dynamodb.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield dynamodb
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
