"""The HTTP side of the load balancer: raw requests from connections, and replies to them.

Malformed requests are refused before any rule, as by AWS:
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
"""

import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from secrets import token_hex
from typing import Any

from local.guard import Clients
from local.http_requests import GuardedRequests
from local.listening import LoopbackHttpServer
from local.load_balancer_events import HOP_BY_HOP, MAX_BODY_BYTES, Reply, Request, plain


class HttpServer(LoopbackHttpServer):
    """Serves `listener`, and calls `answer` for each request."""

    def __init__(self, listener: socket.socket, *, answer: Callable[[Request], Reply]) -> None:
        super().__init__(listener.getsockname(), _HttpConnection, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.answer = answer


class _HttpConnection(GuardedRequests):
    server: HttpServer
    clients = Clients.BROWSERS
    max_body_bytes = MAX_BODY_BYTES
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    timeout = 60  # seconds without a byte, the real one's idle timeout

    def _serve(self) -> None:
        self._send(self.server.answer(self._request()))

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

    def do_TRACE(self) -> None:  # noqa: N802 - the base class's name
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
            body=self.rfile.read(),
        )
        client = ", ".join([*request.values("x-forwarded-for"), str(self.client_address[0])])
        port = str(self.server.server_address[1])
        return request.with_headers(
            x_amzn_trace_id=f"Root=1-{int(time.time()):08x}-{token_hex(12)}",
            x_forwarded_for=client,
            x_forwarded_port=port,
            x_forwarded_proto="http",
        )
