"""The queue of one machine: batches, partial failures and concurrency as on AWS."""

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
    """A function that keeps what it was given, and answers as `answer` says."""

    def __init__(self, answer: Handler = lambda _: {"batchItemFailures": []}) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self._answer = answer

    def __call__(self, event: Any) -> Any:
        self.batches.append(event["Records"])
        return self._answer(event)

    @property
    def bodies(self) -> list[str]:
        return [record["body"] for batch in self.batches for record in batch]


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    with MotoServer(listen(0)) as aws:
        yield aws.client("sqs")


@pytest.fixture
def url(sqs: Any, request: pytest.FixtureRequest) -> str:
    """An empty queue whose messages stay hidden for a second."""
    name = f"queue-{abs(hash(request.node.name))}"
    created = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})
    return str(created["QueueUrl"])


def poller(sqs: Any, url: str, work: Handler, **choices: Any) -> QueuePoller:
    choices = {"workers": 1, "batch_size": 10, "log": lambda _: None, **choices}
    return QueuePoller(url, sqs=sqs, invoke=work, **choices)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def left(sqs: Any, url: str) -> int:
    """How many messages are in the queue, hidden ones too."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def send(sqs: Any, url: str, *bodies: str) -> None:
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="payments")


def test_message_arrives_in_the_shape_of_aws_and_is_gone(sqs: Any, url: str) -> None:
    """Every member of a record is there, and what was worked on is not delivered again."""
    work = Work()
    send(sqs, url, "one")
    with poller(sqs, url, work):
        wait_until(lambda: bool(work.batches) and left(sqs, url) == 0)
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


def test_messages_come_in_batches_of_the_size_that_was_set(sqs: Any, url: str) -> None:
    """Never more at once."""
    work = Work()
    send(sqs, url, *map(str, range(5)))
    with poller(sqs, url, work, batch_size=2):
        wait_until(lambda: len(work.bodies) == 5)
    assert sorted(work.bodies) == list("01234")
    assert max(map(len, work.batches)) == 2


def test_only_what_failed_of_a_batch_comes_again(sqs: Any, url: str) -> None:
    """One message's trouble is no other's, and it is back once it is visible again."""

    def fail_the_bad(event: Any) -> Any:
        first = len(work.batches) == 1
        failed = [r["messageId"] for r in event["Records"] if r["body"] == "bad" and first]
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}

    work, told = Work(fail_the_bad), list[str]()
    send(sqs, url, "good", "bad")
    with poller(sqs, url, work, log=told.append):
        wait_until(lambda: len(work.bodies) == 3 and left(sqs, url) == 0)
    assert sorted(work.bodies[:2]) == ["bad", "good"]
    assert work.bodies[2] == "bad"
    assert ["bad" in line for line in told] == [True]


def test_everything_comes_again_after_a_function_that_failed(sqs: Any, url: str) -> None:
    """An exception, a timeout or a crash of the function loses no message."""

    def fail_once(_: Any) -> Any:
        if len(work.batches) == 1:
            raise FunctionFailed("Sandbox.Timedout", "too slow")
        return None

    work, told = Work(fail_once), list[str]()
    send(sqs, url, "one")
    with poller(sqs, url, work, log=told.append):
        wait_until(lambda: len(work.batches) == 2 and left(sqs, url) == 0)
    assert work.bodies == ["one", "one"]
    assert "too slow" in told[0]


def test_as_many_invocations_run_at_once_as_were_allowed(sqs: Any, url: str) -> None:
    """Two workers do two units side by side; a third waits."""
    both, may_go = Event(), Event()

    def meet(_: Any) -> Any:
        if len(work.batches) == 2:
            both.set()
        may_go.wait(10)

    work = Work(meet)
    send(sqs, url, "one", "two", "three")
    with poller(sqs, url, work, workers=2, batch_size=1):
        assert both.wait(10)
        assert len(work.batches) == 2
        may_go.set()
        wait_until(lambda: len(work.bodies) >= 3)


def test_delayed_message_waits_for_its_time(sqs: Any, url: str) -> None:
    """A unit that is due soon is sent ahead, and worked on when it is due."""
    work = Work()
    sent_at = time.monotonic()
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=2)
    with poller(sqs, url, work):
        wait_until(lambda: bool(work.batches))
    assert time.monotonic() - sent_at >= 1.9
