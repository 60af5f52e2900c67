"""Delivers the messages of a queue to a function, as Lambda's event source mapping does.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from local.function_instance import FunctionFailed
from local.lambda_runtime import REGION

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

WAIT_SECONDS = 1
"""The wait for messages at each poll, in seconds. Leaving the block takes at most this long."""


class QueuePoller:
    """Polls the queue at `url`, from entering the block to leaving it.

    Up to `workers` invocations run at once, with up to `batch_size` messages each. Messages that
    the function reports as failed stay in the queue until their visibility timeout ends. If the
    function itself fails, the whole batch stays. `log` gets a line for each failure.
    """

    def __init__(
        self,
        url: str,
        *,
        sqs: "SQSClient",
        invoke: Callable[[Any], Any],
        workers: int,
        batch_size: int,
        log: Callable[[str], None],
    ) -> None:
        self._url = url
        self._arn = f"arn:aws:sqs:{REGION}:" + ":".join(url.split("/")[-2:])
        self._sqs = sqs
        self._invoke = invoke
        self._batch_size = batch_size
        self._log = log
        self._is_over = Event()
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(workers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            # A thread that waits for its function ends when the function is stopped, later.
            thread.join(2 * WAIT_SECONDS)

    def _work(self) -> None:
        while not self._is_over.is_set():
            try:
                self._hand_over(self._received())
            except (FunctionFailed, ClientError, BotoCoreError) as failure:
                if not self._is_over.is_set():
                    self._log(f"{self._arn}: {failure}")
                self._is_over.wait(WAIT_SECONDS)

    def _received(self) -> "Sequence[MessageTypeDef]":
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            # SQS returns at most ten at a time. Lambda collects larger batches with several calls.
            MaxNumberOfMessages=min(self._batch_size, 10),
            WaitTimeSeconds=WAIT_SECONDS,
            MessageSystemAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    def _hand_over(self, messages: "Sequence[MessageTypeDef]") -> None:
        if not messages:
            return
        answer = self._invoke({"Records": [self._record(message) for message in messages]})
        failed = {item["itemIdentifier"] for item in (answer or {}).get("batchItemFailures", [])}
        for message in messages:
            if message["MessageId"] in failed:
                self._log(f"{self._arn}: failed, and is delivered again: {message['Body']}")
            else:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def _record(self, message: "MessageTypeDef") -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._arn,
            "awsRegion": REGION,
        }
