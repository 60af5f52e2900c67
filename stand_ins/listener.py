"""An HTTP server on loopback that can also leave a request without an answer."""

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from local.http_requests import GuardedRequests

# Headers that describe this server or its connection.
NOT_COPIED = frozenset({"connection", "content-length", "date", "server"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST request as it was received."""

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer to send."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No answer: after `silent_seconds` the connection ends, by FIN, or by RST if `is_reset`."""

    silent_seconds: float = 0
    is_reset: bool = False


type Receive = Callable[[HttpRequest], HttpAnswer | NoAnswer]


@contextmanager
def serve(receive: Receive, *, ended: Event) -> Iterator[str]:
    """Serve on a free port until the block ends. Yields the address.

    At the end it sets `ended`, which ends the wait of every connection without an answer.
    """
    listener = _Listener(receive, ended)
    thread = Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}"
    finally:
        ended.set()
        listener.shutdown()
        listener.close_connections()
        listener.server_close()
        thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, receive: Receive, ended: Event) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.receive = receive
        self.ended = ended
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER):
            self.close_request(request)  # a FIN first would hide the reset
        else:
            super().shutdown_request(request)

    def close_connections(self) -> None:
        """End the connections that clients keep open, so that no thread waits for them."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Request(GuardedRequests):
    server: _Listener
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def handle_one_request(self) -> None:
        # Tests close connections on purpose.
        with suppress(ConnectionError):
            super().handle_one_request()
            return
        self.close_connection = True

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.receive(HttpRequest(self.path, dict(self.headers), body))
        if isinstance(answer, HttpAnswer):
            self._send(answer)
            return
        self.server.ended.wait(answer.silent_seconds)
        self.close_connection = True
        if answer.is_reset:
            # With a linger time of 0, closing sends RST in place of FIN.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _send(self, answer: HttpAnswer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in NOT_COPIED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
