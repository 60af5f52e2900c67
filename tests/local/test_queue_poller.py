"""The poller of the local queue: batches, partial failures and concurrency as on AWS."""

import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest

from local.aws import MotoServer
from local.lambda_runtime import FunctionFailed
from local.listening import listen
from local.queue_poller import QueuePoller

pytestmark = pytest.mark.stack

type Handler = Callable[[Any], Any]


class Work:
    """A function that records its batches and answers with `answer`."""

    def __init__(self, answer: Handler = lambda _: {"batchItemFailures": []}) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self._answer = answer

    def __call__(self, event: Any) -> Any:
        self.batches.append(event["Records"])
        return self._answer(event)

    @property
    def bodies(self) -> list[str]:
        """The bodies of all messages, in the order of delivery."""
        return [record["body"] for batch in self.batches for record in batch]


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    """A client of a local SQS."""
    with MotoServer(listen(0)) as aws:
        yield aws.client("sqs")


@pytest.fixture
def url(sqs: Any, request: pytest.FixtureRequest) -> str:
    """The address of an empty queue with a visibility timeout of one second."""
    name = f"queue-{abs(hash(request.node.name))}"
    created = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})
    return str(created["QueueUrl"])


def poller(sqs: Any, url: str, work: Handler, **choices: Any) -> QueuePoller:
    """A poller with one worker and batches of ten, unless `choices` differ."""
    choices = {"workers": 1, "batch_size": 10, "log": lambda _: None, **choices}
    return QueuePoller(url, sqs=sqs, invoke=work, **choices)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. Fails after 15 seconds."""
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, "the condition was not met within 15 seconds"
        time.sleep(0.02)


def messages_left(sqs: Any, url: str) -> int:
    """The number of messages in the queue, with the hidden ones."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def send(sqs: Any, url: str, *bodies: str) -> None:
    """Send a message for each body."""
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="payments")


def test_handled_message_has_the_shape_of_aws_and_is_deleted(sqs: Any, url: str) -> None:
    """The record has every member that AWS sends, and the handled message is deleted."""
    work = Work()
    send(sqs, url, "one")
    with poller(sqs, url, work):
        wait_until(lambda: bool(work.batches) and messages_left(sqs, url) == 0)
    [[record]] = work.batches
    assert record["body"] == "one"
    assert record["eventSource"] == "aws:sqs"
    name = url.rpartition("/")[2]
    assert record["eventSourceARN"] == f"arn:aws:sqs:us-east-1:123456789012:{name}"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["attributes"]["MessageGroupId"] == "payments"
    assert record.keys() == {
        "messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfBody",
        "eventSource", "eventSourceARN", "awsRegion",
    }  # fmt: skip


def test_messages_arrive_in_batches_of_the_configured_size(sqs: Any, url: str) -> None:
    """No batch has more messages than the batch size."""
    work = Work()
    send(sqs, url, *map(str, range(5)))
    with poller(sqs, url, work, batch_size=2):
        wait_until(lambda: len(work.bodies) == 5)
    assert sorted(work.bodies) == list("01234")
    assert max(map(len, work.batches)) == 2


def test_only_failed_messages_of_a_batch_are_redelivered(sqs: Any, url: str) -> None:
    """The failed message is delivered again after the visibility timeout, and the other is not."""

    def fail_bad_once(event: Any) -> Any:
        first = len(work.batches) == 1
        failed = [r["messageId"] for r in event["Records"] if r["body"] == "bad" and first]
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}

    work, log = Work(fail_bad_once), list[str]()
    send(sqs, url, "good", "bad")
    with poller(sqs, url, work, log=log.append):
        wait_until(lambda: len(work.bodies) == 3 and messages_left(sqs, url) == 0)
    assert sorted(work.bodies[:2]) == ["bad", "good"]
    assert work.bodies[2] == "bad"
    assert ["bad" in line for line in log] == [True]


def test_whole_batch_is_redelivered_after_a_failed_function(sqs: Any, url: str) -> None:
    """A function that fails loses no message: its whole batch is delivered again."""

    def fail_once(_: Any) -> Any:
        if len(work.batches) == 1:
            raise FunctionFailed("Sandbox.Timedout", "too slow")
        return None

    work, log = Work(fail_once), list[str]()
    send(sqs, url, "one")
    with poller(sqs, url, work, log=log.append):
        wait_until(lambda: len(work.batches) == 2 and messages_left(sqs, url) == 0)
    assert work.bodies == ["one", "one"]
    assert "too slow" in log[0]


def test_concurrent_invocations_are_limited_to_the_workers(sqs: Any, url: str) -> None:
    """With two workers two messages are handled at once, and the third waits."""
    both, may_go = Event(), Event()

    def wait_for_both(_: Any) -> Any:
        if len(work.batches) == 2:
            both.set()
        may_go.wait(10)

    work = Work(wait_for_both)
    send(sqs, url, "one", "two", "three")
    with poller(sqs, url, work, workers=2, batch_size=1):
        assert both.wait(10)
        assert len(work.batches) == 2
        may_go.set()
        wait_until(lambda: len(work.bodies) >= 3)


def test_delayed_message_is_delivered_after_its_delay(sqs: Any, url: str) -> None:
    """A message with a delay of two seconds is delivered two seconds later."""
    work = Work()
    sent_at = time.monotonic()
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=2)
    with poller(sqs, url, work):
        wait_until(lambda: bool(work.batches))
    assert time.monotonic() - sent_at >= 1.9
