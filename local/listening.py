"""Sockets and servers on loopback."""

import socket
import sys
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

from werkzeug.serving import WSGIRequestHandler, make_server

from local.guard import Clients
from local.http_requests import GuardedRequests

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HOST = "127.0.0.1"
DEFAULT_PORT = "8080"
"""The port of the load balancer where `LOCAL_PORT` sets no other."""


class PortTaken(Exception):
    """Another process listens on `port`."""

    def __init__(self, port: int, host: str = HOST) -> None:
        super().__init__(f"port {port} of {host} is taken")
        self.port = port


def listen(port: int) -> socket.socket:
    """Listen on `port` of loopback; 0 means any free port. Raises `PortTaken`."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise PortTaken(port) from error
    listener.listen(128)
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL of `listener`, without a slash at the end."""
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


class LoopbackHttpServer(ThreadingHTTPServer):
    """The standard library's server, for requests that WSGI would change. Uses daemon threads."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print an error, unless the client closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class WebServer:
    """Serves the WSGI `application` on threads, from entering the block to leaving it."""

    def __init__(
        self,
        application: "WSGIApplication",
        listener: socket.socket,
        *,
        clients: Clients = Clients.PROGRAMS,
    ) -> None:
        host, port = listener.getsockname()
        self._listener = listener
        self._server = make_server(
            host,
            port,
            application,
            threaded=True,
            request_handler=_HANDLERS[clients],
            fd=listener.fileno(),
        )

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._listener.close()


class _QuietRequests(GuardedRequests, WSGIRequestHandler):
    """Does not log requests: query strings have codes, and forms have secrets."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        pass


class _RequestsOfBrowsers(_QuietRequests):
    clients = Clients.BROWSERS


class _SignedRequests(_QuietRequests):
    clients = Clients.SIGNING_PROGRAMS


_HANDLERS = {
    handler.clients: handler for handler in (_QuietRequests, _RequestsOfBrowsers, _SignedRequests)
}
