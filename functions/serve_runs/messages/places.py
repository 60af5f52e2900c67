"""Places for requests that wait: each of them keeps an execution of the function until it ends.

A load balancer takes any number of requests from one client, and Lambda runs each in an execution
of its own. Without a limit, one viewer's long polls could take all concurrency of the account. So
a waiting request needs one of a fixed number of places, and each caller has only a few of those.
A place is a row that is taken by a conditional put. It is free again after the wait, or when the
longest wait is over where the function died.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from random import sample
from typing import TYPE_CHECKING

from byline.caching import Clock
from byline.identity.caller import Caller, principal_text
from byline.tables.rows import ConditionFailed, Item, seconds, write_row
from serve_runs.errors import RequestFailed
from serve_runs.messages.requests import MAX_WAIT_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

PARTITION = "waiting#"
"""The partition of all places. Project names have no `#`."""

PLACES_OF_A_PERSON = 5
"""An application may take half of all places, because one may execute many runs."""

TRIES = 5
"""How many of its places a request tries, in random order."""

TAKEN_SECONDS = MAX_WAIT_SECONDS + 10
KEPT_SECONDS = 86_400


class WaitingPlaces:
    """The places of a deployment, as rows of its table of runs."""

    def __init__(self, client: "DynamoDBClient", table: str, *, places: int, now: Clock) -> None:
        self._client = client
        self._table = table
        self._places = places
        self._now = now

    @contextmanager
    def take(self, caller: Caller | None, *, request_id: str) -> Iterator[None]:
        """Take a place of `caller` for the block.

        Raises `RequestFailed` (`too_many_waits`) where none of them is free.
        """
        own = self._places_of(caller)
        for place in sample(own, min(TRIES, len(own))):
            if self._take(place, request_id):
                break
        else:
            raise RequestFailed("too_many_waits")
        try:
            yield
        finally:
            self._give_back(place, request_id)

    def _places_of(self, caller: Caller | None) -> list[int]:
        """The places that a caller may take, spread over all of them, so that few callers share
        more than one."""
        is_application = caller is not None and caller.kind == "application"
        count = max(1, self._places // 2) if is_application else PLACES_OF_A_PERSON
        name = principal_text(caller)
        digests = (sha256(f"{number}\0{name}".encode()).digest() for number in range(count))
        return sorted({int.from_bytes(digest[:8]) % self._places for digest in digests})

    def _take(self, place: int, request_id: str) -> bool:
        now = self._now()
        item: Item = {
            **_key(place),
            "taken_by": {"S": request_id},
            "taken_until": seconds(now + TAKEN_SECONDS),
            "expires_at": seconds(now + KEPT_SECONDS),
        }
        with suppress(ConditionFailed):
            write_row(
                self._client,
                lambda: self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression=(
                        "attribute_not_exists(id) OR taken_until <= :now OR taken_by = :me"
                    ),
                    ExpressionAttributeValues={":now": seconds(now), ":me": {"S": request_id}},
                ),
            )
            return True
        return False

    def _give_back(self, place: int, request_id: str) -> None:
        with suppress(ConditionFailed):
            write_row(
                self._client,
                lambda: self._client.delete_item(
                    TableName=self._table,
                    Key=_key(place),
                    ConditionExpression="taken_by = :me",
                    ExpressionAttributeValues={":me": {"S": request_id}},
                ),
            )


def _key(place: int) -> Item:
    return {"project": {"S": PARTITION}, "id": {"S": str(place)}}
