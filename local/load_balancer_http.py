"""The HTTP side of the load balancer: reads raw requests and writes replies.

It refuses what AWS refuses before any rule:
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
"""

import socket
import time
from collections.abc import Callable
from copy import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from secrets import token_hex
from typing import Any

from local.listening import LoopbackHttpServer
from local.load_balancer_events import HOP_BY_HOP, MAX_BODY_BYTES, Reply, Request, plain

DRAINED_BYTES = 16 * MAX_BODY_BYTES
"""The bytes that are read of a body that is too large, before the answer. A client that is still
sending would see a broken connection instead of the answer."""


class HttpServer(LoopbackHttpServer):
    """Serves `listener`, and calls `answer` for each request."""

    def __init__(self, listener: socket.socket, *, answer: Callable[[Request], Reply]) -> None:
        super().__init__(listener.getsockname(), _HttpConnection, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.answer = answer


class _BadRequest(Exception):
    """The request is not valid HTTP, or is too large."""

    def __init__(self, status: HTTPStatus, text: str = "") -> None:
        super().__init__(status)
        self.reply = plain(status, text)


class _HttpConnection(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    timeout = 60  # seconds without a byte, the real one's idle timeout

    def _serve(self) -> None:
        try:
            reply = self.server.answer(self._request())
        except _BadRequest as bad:
            self.close_connection = True
            reply = bad.reply
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    # The base class looks these up.
    do_GET = do_HEAD = do_OPTIONS = _serve  # noqa: N815
    do_DELETE = do_PATCH = do_POST = do_PUT = _serve  # noqa: N815

    def do_TRACE(self) -> None:
        self._send(plain(HTTPStatus.METHOD_NOT_ALLOWED))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing here: the load balancer writes the access log."""

    def _request(self) -> Request:
        headers = [(name.lower(), value) for name, value in self.headers.items()]
        request = Request(
            method=self.command,
            path=self.path.partition("?")[0],
            query=self.path.partition("?")[2],
            headers=tuple(header for header in headers if header[0] not in HOP_BY_HOP),
            body=b"",
        )
        if len(request.values("host")) != 1 or not request.path.startswith("/"):
            raise _BadRequest(HTTPStatus.BAD_REQUEST)
        client = ", ".join([*request.values("x-forwarded-for"), str(self.client_address[0])])
        port = str(self.server.server_address[1])
        request = replace(request, body=self._body(request))
        return request.with_headers(
            x_amzn_trace_id=f"Root=1-{int(time.time()):08x}-{token_hex(12)}",
            x_forwarded_for=client,
            x_forwarded_port=port,
            x_forwarded_proto="http",
        )

    def _body(self, request: Request) -> bytes:
        lengths = request.values("content-length")
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            if lengths:  # two lengths: the start of request smuggling (RFC 9112, section 6.1)
                raise _BadRequest(HTTPStatus.BAD_REQUEST)
            return self._chunks()
        if len(set(lengths)) > 1 or not all(text.isascii() and text.isdigit() for text in lengths):
            raise _BadRequest(HTTPStatus.BAD_REQUEST)
        length = int(lengths[0]) if lengths else 0
        if length > MAX_BODY_BYTES:
            self.rfile.read(min(length, DRAINED_BYTES))
            raise _BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self.rfile.read(length)

    def _chunks(self) -> bytes:
        """The body of a chunked request (RFC 9112, section 7.1)."""
        body = bytearray()
        while True:
            try:
                size = int(self.rfile.readline(100).partition(b";")[0], 16)
            except ValueError:
                raise _BadRequest(HTTPStatus.BAD_REQUEST) from None
            if size < 0 or size + len(body) > MAX_BODY_BYTES:
                raise _BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            body += self.rfile.read(size)
            if size == 0:
                while self.rfile.readline(1000).strip():
                    pass  # trailers, which no target gets
                return bytes(body)
            self.rfile.readline(3)
