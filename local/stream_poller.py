"""Delivers the changes of a table to a function, as Lambda's event source mapping does.

https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

import json
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from local.function_instance import FunctionFailed

WAIT_SECONDS = 0.5
"""The seconds between two polls of a stream without new records."""

type Json = dict[str, Any]


class StreamPoller:
    """Polls the stream of `table`, from entering the block to leaving it.

    The function gets the records that match one of `filters`, in order, up to `batch_size` at once.
    After a failure, the batch is delivered again from the first failed record on, at most `retries`
    times. `log` gets a line for each failure.
    """

    def __init__(
        self,
        table: str,
        *,
        streams: Any,
        invoke: Callable[[Any], Any],
        filters: Sequence[Json],
        batch_size: int,
        retries: int,
        log: Callable[[str], None],
    ) -> None:
        self._table = table
        self._streams = streams
        self._invoke = invoke
        self._filters = filters
        self._batch_size = batch_size
        self._retries = retries
        self._log = log
        self._is_over = Event()
        self._thread = Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        # A thread that waits for its function ends when the function is stopped, later.
        self._thread.join(2 * WAIT_SECONDS)

    def _work(self) -> None:
        position = None
        while not self._is_over.is_set():
            try:
                position = position or self._beginning()
                answer = self._streams.get_records(ShardIterator=position, Limit=self._batch_size)
                position = answer["NextShardIterator"]
                self._hand_over(answer["Records"])
                if not answer["Records"]:
                    self._is_over.wait(WAIT_SECONDS)
            except (ClientError, BotoCoreError) as failure:
                if not self._is_over.is_set():
                    self._log(f"the stream of {self._table}: {failure}")
                self._is_over.wait(WAIT_SECONDS)

    def _beginning(self) -> str:
        [stream] = self._streams.list_streams(TableName=self._table)["Streams"]
        arn = stream["StreamArn"]
        [shard] = self._streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        answer = self._streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        return str(answer["ShardIterator"])

    def _hand_over(self, records: Sequence[Json]) -> None:
        left = [_json(record) for record in records]
        left = [record for record in left if any(matches(f, record) for f in self._filters)]
        for _ in range(1 + self._retries):
            if not left or self._is_over.is_set():
                return
            left = left[self._first_failure(left) :]
        self._log(f"the stream of {self._table}: {len(left)} changes are given up")

    def _first_failure(self, records: Sequence[Json]) -> int:
        """Deliver records. Returns the position from which they must be delivered again."""
        try:
            answer = self._invoke({"Records": records})
        except FunctionFailed as failure:
            if not self._is_over.is_set():
                self._log(f"the stream of {self._table}: {failure}")
            return 0
        failed = {item["itemIdentifier"] for item in (answer or {}).get("batchItemFailures", [])}
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        return next((at for at, number in enumerate(numbers) if number in failed), len(numbers))


def matches(pattern: Json, document: Any) -> bool:
    """Whether an event filter accepts `document`. Knows only the patterns of our template.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-syntax
    """
    for name, rule in pattern.items():
        is_there = isinstance(document, dict) and name in document
        if isinstance(rule, dict):
            if not is_there or not matches(rule, document[name]):
                return False
        elif not any(
            is_there == choice["exists"]
            if isinstance(choice, dict)
            else is_there and document[name] == choice
            for choice in rule
        ):
            return False
    return True


def _json(record: Any) -> Json:
    """A record as the function gets it, with times as numbers."""
    document: Json = json.loads(json.dumps(record, default=lambda time: time.timestamp()))
    return document
