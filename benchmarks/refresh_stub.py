"""The stub of a refresh: Secrets Manager's stand-in, a table, a queue and a token endpoint.

The table is a dictionary with the part of DynamoDB that worker and planner use. moto, on which the
tests run, copies the whole table for each transaction, and would dominate the measurement.
"""

import json
import time
from collections import defaultdict
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
type Key = tuple[str, str]


class RefreshStub:
    """The services behind one address. Callers prepare and read `secrets` and `table`.

    `messages`: how many were sent to the queue.
    """

    def __init__(self) -> None:
        self.url = ""
        self.ended = Event()
        self.secrets = SecretStore(behaviour=Behaviour(quotas=UNLIMITED))
        self.table = Table()
        self.mints = self.messages = 0
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
            if operation == "SendMessageBatch":
                self.messages += len(document["Entries"])
                return _json({"Successful": [], "Failed": []})
            return _json(self.table.answer(operation, document))
        except Refused as refused:
            return _json(refused.refusal.document(), status=refused.refusal.status)


class Table:
    """`RunnersTable`. With one worker, every condition holds but the one of a commit.

    `reads`: the items that queries returned.
    """

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}
        self.reads = 0
        self._due: defaultdict[str, dict[Key, Item]] = defaultdict(dict)

    def put(self, item: Item) -> None:
        """Put an item without a condition. With a shard and a due time it is in the index."""
        self.items[_key(item)] = item
        if "shard" in item and "due_at" in item:
            self._due[item["shard"]["S"]][_key(item)] = item

    def make_due(self) -> None:
        """Make every token due now."""
        for items in self._due.values():
            for item in items.values():
                item["due_at"] = {"N": str(int(time.time()))}

    def answer(self, operation: str, document: Document) -> dict[str, Any]:
        """The answer to one call. Raises `Refused`."""
        match operation:
            case "Query" if document["TableName"] == "RunsTable":
                return {"Items": [], "Count": 0, "ScannedCount": 0}  # no run has heartbeats
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
                self.put(document["Item"])
            case "UpdateItem":
                self._update(document)
            case "TransactWriteItems":
                for action in document["TransactItems"]:
                    self._update(action["Update"])
            case "DeleteItem":
                self.items.pop(_key(document["Key"]), None)
            case _:
                raise Refused("UnknownOperationException", f"{operation} is not modelled")
        return {}

    def _query(self, document: Document) -> dict[str, Any]:
        values = document["ExpressionAttributeValues"]
        is_next = "due_at > :by" in document["KeyConditionExpression"]
        by = int((values.get(":by") or values[":now"])["N"])
        found = [
            item
            for item in self._due[values[":shard"]["S"]].values()
            if (int(item["due_at"]["N"]) > by) == is_next
        ][: document.get("Limit")]
        if "ProjectionExpression" in document:
            found = [{name: item[name] for name in ("project", "runner")} for item in found]
        self.reads += len(found)
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}

    def _update(self, update: Document) -> None:
        names, values = update["ExpressionAttributeNames"], update["ExpressionAttributeValues"]
        item = self.items[_key(update["Key"])]
        if values[":was"] != item["generation"]:
            raise Refused("TransactionCanceledException", "ConditionalCheckFailed")
        for name, attribute in names.items():
            item.pop(attribute, None)
            if f":{attribute}" in values and f"{name} = :{attribute}" in update["UpdateExpression"]:
                item[attribute] = values[f":{attribute}"]


@contextmanager
def refresh_stub() -> Iterator[RefreshStub]:
    """Runs the stub on a free port of loopback, in threads of this process."""
    stub = RefreshStub()
    with serve(stub.receive, ended=stub.ended) as stub.url:
        yield stub


def _key(item: Mapping[str, Any]) -> Key:
    return item["project"]["S"], item["runner"]["S"]


def _json(document: Mapping[str, Any], *, status: int = 200) -> HttpAnswer:
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "x-amzn-RequestId": "1BQ3N7AJ2Q4SDPK1S6MDSQQ3VJVV4KQNSO5AEMVJF66Q9ASUAAJG",
    }
    return HttpAnswer(status, headers, json.dumps(document).encode())
