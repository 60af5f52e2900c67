"""DynamoDB on loopback: moto with the behaviour under failure that moto lacks.

Every request passes `DynamoDb`, which counts it, can lose its answer and can answer itself. The
keys of the function's requests must have sizes that DynamoDB allows. Two behaviours of DynamoDB are
added: a repeated `ClientRequestToken` makes a transaction harmless, and of two concurrent
transactions on one row the second fails with a conflict.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

import json
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from io import BytesIO
from threading import Lock, Thread
from typing import Any

import boto3
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords
from werkzeug.serving import WSGIRequestHandler, make_server

from local.aws import ROOT
from local.template import Template
from stand_ins.engine import application, empty_table
from stand_ins.in_process import answer_in_process
from stand_ins.key_sizes import bad_keys
from stand_ins.listener import HttpAnswer, HttpRequest
from stand_ins.moto_services import ask

TABLE = "RunsTable"
ACCESS_TABLE = "AccessTable"
RUNNERS_TABLE = "RunnersTable"
FUNCTION = "byline botocore"
"""The user agent of the function. The keys of the tests' own requests are not checked."""

WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request that reached the server: its operation, its document and who signed it."""

    operation: str
    document: dict[str, Any]
    signer: str

    @property
    def is_profile_write(self) -> bool:
        """Whether it writes a profile, as a caller's first call in a process does."""
        return bool(self.document.get("Key", {}).get("entry") == {"S": "profile"})


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """The server carries out the next `operation`, and the answer never arrives."""

    operation: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server does not carry out the next `operation`, and answers `code` with `members`."""

    operation: str
    code: str
    status: int = 400
    members: dict[str, Any] = field(default_factory=dict)

    def answer(self, start_response: Any) -> list[bytes]:
        """The error response as a WSGI body."""
        document = {"__type": f"com.amazonaws.dynamodb.v20120810#{self.code}", **self.members}
        start_response(f"{self.status} refused", [("Content-Type", "application/x-amz-json-1.0")])
        return [json.dumps(document).encode()]


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """`act` runs just before the server carries out the next `operation`."""

    operation: str
    act: Callable[[], object]


def conflict(reasons: int = 2, *, code: str = "TransactionConflict") -> Refusal:
    """The error of a transaction that conflicts with another."""
    members = {
        "Message": "Transaction cancelled",
        "CancellationReasons": [{"Code": code, "Message": "in the way"}] * reasons,
    }
    return Refusal("TransactWriteItems", "TransactionCanceledException", members=members)


class DynamoDb:
    """A WSGI application around moto. `faults` happen in order, each once.

    `calls` are all calls except the writes of profiles, which are in `profile_writes`. `remaining`:
    how many more calls are carried out, as for a process that is killed then; None for all.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.profile_writes: list[Call] = []
        self.faults: deque[LostAnswer | Refusal | Meanwhile] = deque()
        self.remaining: int | None = None
        self.url = ""
        self._engine: Any = application()
        self._answers_by_token: dict[str, list[Any]] = {}
        self._engine_lock = Lock()
        self._busy_rows: set[str] = set()
        self._rows_lock = Lock()

    @cached_property
    def client(self) -> Any:
        """A client of the tests. Its calls use a connection only where a fault waits."""
        client = boto3.client("dynamodb", endpoint_url=self.url, region_name="us-east-1")
        answer_in_process(client, self._answer)
        return client

    def writes(self) -> list[Call]:
        """The calls that write, carried out or not."""
        return [call for call in self.calls if call.operation in WRITES]

    def rows(self, table: str = TABLE) -> list[dict[str, Any]]:
        """All rows of a table, tombstones and idempotency records included."""
        rows: list[dict[str, Any]] = self.client.scan(TableName=table, ConsistentRead=True)["Items"]
        return rows

    def reset(self) -> None:
        """Empty the tables, and forget calls, faults and transactions."""
        self.faults.clear()
        self.remaining = None
        self._answers_by_token.clear()
        for table in (TABLE, ACCESS_TABLE, RUNNERS_TABLE):
            empty_table(self.client, table_definition(table))
        self.calls.clear()
        self.profile_writes.clear()

    def _answer(self, request: HttpRequest) -> HttpAnswer | None:
        return None if self.faults else ask(self, request)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request, with the next fault where it is for this operation."""
        operation = environ.get("HTTP_X_AMZ_TARGET", ".").partition(".")[2]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        signature = environ.get("HTTP_AUTHORIZATION", "")
        signer = signature.partition("Credential=")[2].partition("/")[0]
        call = Call(operation, json.loads(body or b"{}"), signer)
        (self.profile_writes if call.is_profile_write else self.calls).append(call)
        if self.remaining is not None:
            if self.remaining == 0:
                return Refusal(operation, "AccessDeniedException").answer(start_response)
            self.remaining -= 1
        fault = None
        if self.faults and self.faults[0].operation == operation:
            fault = self.faults.popleft()
        if isinstance(fault, Refusal):
            return fault.answer(start_response)
        if isinstance(fault, Meanwhile):
            fault.act()
        if words := reserved_words(call.document):
            return Refusal(
                operation, "ValidationException", members={"Message": f"reserved: {words}"}
            ).answer(start_response)
        if _is_from_function(environ) and (
            keys := bad_keys(call.document, definition=table_definition)
        ):
            return Refusal(
                operation, "ValidationException", members={"Message": f"no keys: {keys}"}
            ).answer(start_response)
        if operation == "TransactWriteItems":
            answer = self._transact(environ, call.document)
        else:
            answer = self._ask_engine(environ)
        if isinstance(fault, LostAnswer):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        status, headers, chunks = answer
        start_response(status, headers)
        return chunks  # type: ignore[no-any-return]

    def _transact(self, environ: dict[str, Any], document: dict[str, Any]) -> list[Any]:
        token = document.get("ClientRequestToken", "")
        if token in self._answers_by_token:
            return self._answers_by_token[token]
        rows = _rows_of_transaction(document)
        with self._rows_lock:
            is_conflict = not self._busy_rows.isdisjoint(rows)
            if not is_conflict:
                self._busy_rows |= rows
        if is_conflict:
            answer: list[Any] = []
            chunks = conflict().answer(lambda *head: answer.extend(head))
            return [*answer, chunks]
        try:
            answer = self._ask_engine(environ)
        finally:
            with self._rows_lock:
                self._busy_rows -= rows
        if token and answer[0].startswith("200"):
            self._answers_by_token[token] = answer
        return answer

    def _ask_engine(self, environ: dict[str, Any]) -> list[Any]:
        head: list[Any] = []
        with self._engine_lock:
            chunks = list(self._engine(environ, lambda *started: head.extend(started)))
        return [*head[:2], chunks]


def _rows_of_transaction(document: dict[str, Any]) -> set[str]:
    """The rows that a transaction names, by table and key."""
    rows = set()
    for action in document.get("TransactItems", ()):
        for single in action.values():
            table = single["TableName"]
            key = single.get("Key") or single.get("Item", {})
            schema = table_definition(table)["KeySchema"]
            values = [key.get(part["AttributeName"]) for part in schema]
            rows.add(repr((table, values)))
    return rows


def _is_from_function(environ: dict[str, Any]) -> bool:
    """Whether the function sent the request, and to DynamoDB: other services share this address."""
    return FUNCTION in environ.get("HTTP_USER_AGENT", "") and environ.get(
        "HTTP_X_AMZ_TARGET", ""
    ).startswith("DynamoDB_")


def reserved_words(document: Any) -> set[str]:
    """The reserved words in a request's expressions. DynamoDB refuses all of them, moto some."""
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
    """The table's definition in `template.yaml`, without settings that do not affect rows."""
    properties = _tables()[table]["Properties"]
    names = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    return {"TableName": table, **{name: properties[name] for name in names}}


@cache
def _tables() -> dict[str, Any]:
    return Template.read(ROOT / "template.yaml").resources("AWS::DynamoDB::Table")


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        pass


@contextmanager
def serve_dynamodb() -> Iterator[DynamoDb]:
    """Run the server on a port of its own until the block ends."""
    dynamodb = DynamoDb()
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
