"""A server that answers as it is told, for what the real service never does."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

JSON = "application/json"


@dataclass(frozen=True)
class Told:
    """One answer. An empty `status` closes the connection without an answer."""

    status: int = 200
    body: str = "{}"
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class TellingServer:
    """The server: its URL, and the requests that it received."""

    url: str
    received: list[Received]


class _QuietServer(ThreadingHTTPServer):
    """A server that reports no client that gave up: the reports would be in the test's output."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report nothing."""


def problem(status: int, reason: str, **members: Any) -> Told:
    """A problem document as the service sends it."""
    document = {"status": status, "reason": reason, "instance": "req-1", "detail": "A sentence."}
    return Told(status, json.dumps({**document, **members}), "application/problem+json")


@contextmanager
def told(answer: Callable[[Received], Told]) -> Iterator[TellingServer]:
    """A server on loopback that answers each request by `answer`."""
    received: list[Received] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_method(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, self.path, headers, body)
            received.append(request)
            reply = answer(request)
            self.close_connection = True
            if not reply.status:
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", reply.media_type)
            self.send_header("content-length", str(len(reply.body.encode())))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(reply.body.encode())

        do_GET = do_POST = do_PUT = do_DELETE = handle_one_method  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Keep the output of the tests free of requests."""

    with _QuietServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield TellingServer(f"http://127.0.0.1:{server.server_port}", received)
        finally:
            server.shutdown()
