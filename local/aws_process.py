"""The process of moto's server: `python -m local.aws_process <file descriptor of its listener>`."""

import socket
import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.wrappers import Response

from local.guard import Clients
from local.listening import WebServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class AwsOnly:
    """Moto without its own routes, which are no part of AWS and can empty all tables."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/moto-api"):
            return Response("This server has only the routes of AWS.\n", HTTPStatus.FORBIDDEN)(
                environ, start_response
            )
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer


def serve(listener: socket.socket) -> None:
    """Serve AWS's APIs until standard input is closed, which is when the parent ends."""
    with WebServer(AwsOnly(), listener, clients=Clients.SIGNING_PROGRAMS):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
