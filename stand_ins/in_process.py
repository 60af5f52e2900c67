"""Clients of boto3 whose calls a stand-in answers in the same process, without a connection.

Without the connection, a test's preparations and checks cost less.
"""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from stand_ins.listener import HttpAnswer, HttpRequest

type Answer = Callable[[HttpRequest], HttpAnswer | None]
"""The answer to a request; None sends it to the client's endpoint."""


class _Content(BytesIO):
    """The content of an answer, as botocore reads it from a connection."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def answer_in_process(client: Any, answer: Answer) -> None:
    """Let `answer` answer the calls of `client`, after all other handlers of `before-send`."""

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        content = answer(_received(request))
        if content is None:
            return None
        headers: Any = content.headers
        return AWSResponse(request.url, content.status, headers, _Content(content.body))

    client.meta.events.register_last("before-send", send)


def _received(request: AWSPreparedRequest) -> HttpRequest:
    address = urlsplit(request.url)
    headers = {
        "Host": address.netloc,
        **{name: _text(value) for name, value in request.headers.items()},
    }
    return HttpRequest(address.path or "/", headers, _text(request.body or "").encode())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
