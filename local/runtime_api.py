"""Lambda's Runtime API: a runtime gets its invocations there and posts its answers.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import sys
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Thread
from typing import Protocol
from uuid import uuid4

from local.http_requests import GuardedRequests
from local.listening import LoopbackHttpServer

API = "/2018-06-01/runtime"


@dataclass(frozen=True, slots=True)
class Invocation:
    """An event for a runtime. `deadline` is in seconds since the epoch."""

    payload: bytes
    deadline: float
    request_id: str = field(default_factory=lambda: str(uuid4()))
    answer: Future[bytes] = field(default_factory=Future)


class Instance(Protocol):
    """The function instance behind the API. The API calls it from its own threads."""

    def next_invocation(self) -> Invocation | None:
        """Wait for the next invocation. None if there will be no more."""

    def on_restore(self) -> None:
        """The runtime has reached the point at which SnapStart takes the snapshot."""

    def on_answer(self, request_id: str, answer: bytes) -> None:
        """Take the answer of the runtime."""

    def on_error(self, report: bytes) -> None:
        """Take the runtime's report of an error, of an invocation or of init."""


class RuntimeApi(LoopbackHttpServer):
    """Serves one instance on a free port of loopback."""

    def __init__(self, instance: Instance, function_arn: str) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeConnection)
        self.instance = instance
        self.function_arn = function_arn
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Serve on a thread of its own."""
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: an instance that is killed drops its connections."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _RuntimeConnection(GuardedRequests):
    server: RuntimeApi
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        match self.path.removeprefix(API):
            case "/invocation/next":
                self._send_next_invocation()
            case "/restore/next":
                self.server.instance.on_restore()
                self._send(200)
            case _:
                self._send(404)

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.path.removeprefix(API).split("/"):
            case ["", "invocation", request_id, "response"]:
                self.server.instance.on_answer(request_id, body)
                self._send(202)
            case ["", "invocation", _, "error"] | ["", "init" | "restore", "error"]:
                self.server.instance.on_error(body)
                self._send(202)
            case _:
                self._send(404)

    def _send_next_invocation(self) -> None:
        invocation = self.server.instance.next_invocation()
        if invocation is None:
            self.close_connection = True
            return
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.server.function_arn,
        }
        self._send(200, invocation.payload, headers)

    def _send(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
