"""Real servers on loopback that answer byte by byte as a test wants it."""

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socket import create_server, socket
from threading import Event, Thread

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)

type Respond = Callable[[socket, Event], None]
"""Writes an answer to a connection whose request was read; the event is set when all is over."""


@dataclass
class Server:
    """A server under way, and the requests that it has read."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answer(body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> Respond:
    """A plain answer; a `Content-Length` is added unless `headers` frame the body otherwise."""
    framed = "content-length" in headers.lower() or "transfer-encoding" in headers.lower()
    length = "" if framed else f"Content-Length: {len(body)}\r\n"

    def respond(connection: socket, _: Event) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\n{length}{headers}\r\n".encode() + body)

    return respond


def drip(head: bytes, *, every: float, byte: bytes = b"x") -> Respond:
    """`head` at once, then a byte every so many seconds until the client hangs up."""

    def respond(connection: socket, over: Event) -> None:
        connection.sendall(head)
        while not over.wait(every):
            connection.sendall(byte)

    return respond


def silence(_: socket, over: Event) -> None:
    """Nothing at all."""
    over.wait(10)


@contextmanager
def serve(respond: Respond, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve on a free port of 127.0.0.1, one connection after another."""
    with create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])

        def run() -> None:
            while True:
                connection, _ = listener.accept()
                # A client that hangs up, or does not trust the certificate, is what is tested.
                with connection, suppress(OSError):
                    if server.over.is_set():
                        return
                    if tls is not None:
                        connection = tls.wrap_socket(connection, server_side=True)
                    server.requests.append(_read_request(connection))
                    respond(connection, server.over)
                    connection.close()

        thread = Thread(target=run)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            with suppress(OSError), socket() as wake:
                wake.connect(listener.getsockname())
            thread.join(5)
            assert not thread.is_alive()


def _read_request(connection: socket) -> bytes:
    """Head and body. Closing with a part unread would reset the connection under the answer."""
    request = b""
    length = 0
    while b"\r\n\r\n" not in request or len(request.partition(b"\r\n\r\n")[2]) < length:
        received = connection.recv(65_536)
        if not received:
            break
        request += received
        if declared := _CONTENT_LENGTH.search(request):
            length = int(declared[1])
    return request
