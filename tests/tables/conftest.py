"""A table on a server that speaks DynamoDB's protocol, with faults on demand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from byline.tables.rows import Item
from stand_ins.aws_server import AwsServer, serve_aws
from stand_ins.faults import Call

_numbers = count(1)


@dataclass
class Table:
    """A table with the key `id`, its client, and the waits of the code that is tested."""

    aws: AwsServer
    name: str
    client: Any
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Note the wait, and do not wait."""
        self.waits.append(seconds)

    def put(self, *items: Item) -> None:
        """Store `items`, without a call that a test would count."""
        for item in items:
            self.aws.observer("dynamodb").put_item(TableName=self.name, Item=item)

    def get(self, name: str) -> Mapping[str, Any] | None:
        """The row with this id; None where it is absent."""
        observer = self.aws.observer("dynamodb")
        answer = observer.get_item(TableName=self.name, Key=key(name), ConsistentRead=True)
        return answer.get("Item")  # type: ignore[no-any-return]

    @property
    def calls(self) -> list[Call]:
        """The calls of the code that is tested."""
        return self.aws.calls


def key(name: str) -> Item:
    """The key of the row with this id."""
    return {"id": {"S": name}}


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsServer]:
    with serve_aws() as aws:
        yield aws


@pytest.fixture
def table(aws_server: AwsServer) -> Iterator[Table]:
    """An empty table, and a client that repeats a call whose answer was lost, as the functions'."""
    name = f"rows-{next(_numbers)}"
    aws_server.observer("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client = aws_server.client("dynamodb", retries={"mode": "standard", "total_max_attempts": 2})
    aws_server.calls.clear()
    aws_server.faults.clear()
    yield Table(aws_server, name, client)
    aws_server.faults.clear()
