"""The process of moto's server: `python -m local.aws_process <file descriptor of its listener>`."""

import socket
import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from local.listening import WebServer


def serve(listener: socket.socket) -> None:
    """Serve AWS's APIs until standard input is closed, which is when the parent ends."""
    with WebServer(DomainDispatcherApplication(create_backend_app), listener):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
