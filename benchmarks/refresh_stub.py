"""The stub of a refresh: Secrets Manager's stand-in, a table and an issuer's token endpoint.

The table is a dictionary with the part of DynamoDB that the worker uses. moto, on which the tests
run, copies the whole table for each transaction, and would dominate the measurement.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any

from stand_ins.listener import HttpAnswer, HttpRequest, serve
from stand_ins.rates import UNLIMITED
from stand_ins.refusal import Refused
from stand_ins.secret_store import Behaviour, SecretStore
from stand_ins.secrets_manager import SecretsManager

LATENCY_SECONDS = 0.02
"""The latency of each answer, in place of a network."""

TOKEN = "x" * 900
"""A text as long as a JWT with a dozen claims and an RSA signature."""

type Document = Mapping[str, Any]
type Item = dict[str, Any]


class RefreshStub:
    """The services behind one address. Callers prepare and read `secrets` and `table`."""

    def __init__(self) -> None:
        self.url = ""
        self.ended = Event()
        self.secrets = SecretStore(behaviour=Behaviour(quotas=UNLIMITED))
        self.table = Table()
        self.mints = 0
        self._secrets_manager = SecretsManager(self.secrets)

    def receive(self, request: HttpRequest) -> HttpAnswer:
        """The answer of the called service, or a token, after `LATENCY_SECONDS`."""
        time.sleep(LATENCY_SECONDS)
        service, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        if not operation:
            self.mints += 1
            return _json({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 900})
        document = json.loads(request.body)
        try:
            if service == "secretsmanager":
                return _json(self._secrets_manager.answer(operation, document))
            return _json(self.table.answer(operation, document))
        except Refused as refused:
            return _json(refused.refusal.document(), status=refused.refusal.status)


class Table:
    """`RunnersTable`. With one worker, every condition holds but the one of a commit."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}

    def put(self, item: Item) -> None:
        """Put an item without a condition."""
        self.items[_key(item)] = item

    def make_due(self) -> None:
        """Make every runner due now."""
        for item in self.items.values():
            if "due_at" in item:
                item["due_at"] = {"N": str(int(time.time()))}

    def answer(self, operation: str, document: Document) -> dict[str, Any]:
        """The answer to one call. Raises `Refused`."""
        match operation:
            case "Query":
                return self._query(document)
            case "BatchGetItem":
                ((name, wanted),) = document["RequestItems"].items()
                items = [self.items[_key(key)] for key in wanted["Keys"]]
                return {"Responses": {name: items}, "UnprocessedKeys": {}}
            case "GetItem":
                item = self.items.get(_key(document["Key"]))
                return {} if item is None else {"Item": item}
            case "PutItem":
                self._put(document)
            case "TransactWriteItems":
                for action in document["TransactItems"]:
                    self._put(action["Put"])
            case "DeleteItem":
                self.items.pop(_key(document["Key"]), None)
            case _:
                raise Refused("UnknownOperationException", f"{operation} is not modelled")
        return {}

    def _query(self, document: Document) -> dict[str, Any]:
        values = document["ExpressionAttributeValues"]
        keys = [
            {"project": item["project"], "runner": item["runner"]}
            for item in self.items.values()
            if item.get("shard") == values[":shard"]
            and int(item["due_at"]["N"]) <= int(values[":now"]["N"])
        ]
        return {"Items": keys, "Count": len(keys), "ScannedCount": len(keys)}

    def _put(self, put: Document) -> None:
        before = self.items.get(_key(put["Item"]), {})
        expected = put.get("ExpressionAttributeValues", {})
        if ":generation" in expected and expected[":generation"] != before.get("generation"):
            raise Refused("TransactionCanceledException", "ConditionalCheckFailed")
        self.items[_key(put["Item"])] = put["Item"]


@contextmanager
def refresh_stub() -> Iterator[RefreshStub]:
    """Runs the stub on a free port of loopback, in threads of this process."""
    stub = RefreshStub()
    with serve(stub.receive, ended=stub.ended) as stub.url:
        yield stub


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["project"]["S"], item["runner"]["S"]


def _json(document: Mapping[str, Any], *, status: int = 200) -> HttpAnswer:
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "x-amzn-RequestId": "1BQ3N7AJ2Q4SDPK1S6MDSQQ3VJVV4KQNSO5AEMVJF66Q9ASUAAJG",
    }
    return HttpAnswer(status, headers, json.dumps(document).encode())
