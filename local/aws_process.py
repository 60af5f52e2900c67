"""The process of moto's server: `python -m local.aws_process <file descriptor of its listener>`."""

import socket
import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.wrappers import Response

from local.listening import WebServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SIGNATURE = "AWS4-HMAC-SHA256 "


class SignedOnly:
    """Passes requests on to `application` if they have a signature, which it does not verify.

    A page cannot send `Authorization` without a preflight request, which is refused. moto's own
    routes, such as `/moto-api/reset`, are no part of AWS, and are refused.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        is_signed = environ.get("HTTP_AUTHORIZATION", "").startswith(SIGNATURE)
        if is_signed and not environ["PATH_INFO"].startswith("/moto-api"):
            return self._application(environ, start_response)
        text = "This server answers signed requests of AWS clients only.\n"
        return Response(text, HTTPStatus.FORBIDDEN)(environ, start_response)


def serve(listener: socket.socket) -> None:
    """Serve AWS's APIs until standard input is closed, which is when the parent ends."""
    with WebServer(SignedOnly(DomainDispatcherApplication(create_backend_app)), listener):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
