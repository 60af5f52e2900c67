"""An HTTP server on loopback that can also not answer, in the ways that networks have."""

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

# The server's own, or about the connection that it has.
NOT_COPIED = frozenset({"connection", "content-length", "date", "server"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer as it goes."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """After so many seconds of silence the connection ends, in order or by a reset (TCP RST)."""

    silent_seconds: float = 0
    is_reset: bool = False


type Receive = Callable[[HttpRequest], HttpAnswer | NoAnswer]


@contextmanager
def serve(receive: Receive, *, over: Event) -> Iterator[str]:
    """Serve on a free port until the block ends; the address. `over` then ends every wait."""
    listener = _Listener(receive, over)
    thread = Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_address[1]}"
    finally:
        over.set()
        listener.shutdown()
        listener.hang_up()
        listener.server_close()
        thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, receive: Receive, over: Event) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.receive = receive
        self.over = over
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER):
            self.close_request(request)  # an orderly end first would hide the reset
        else:
            super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep, so that no thread waits for them."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Request(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def handle_one_request(self) -> None:
        # A client that hangs up is what is tested.
        with suppress(ConnectionError):
            super().handle_one_request()
            return
        self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.receive(HttpRequest(self.path, dict(self.headers), body))
        if isinstance(answer, HttpAnswer):
            self._send(answer)
            return
        self.server.over.wait(answer.silent_seconds)
        self.close_connection = True
        if answer.is_reset:
            # Nothing lingers: closing sends RST in place of FIN.
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
