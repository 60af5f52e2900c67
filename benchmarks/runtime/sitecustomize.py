"""Resolves AWS's host names to the stub on loopback, in a measured function.

It replaces DNS and nothing else: every function uses AWS's real host names, and checks the
certificate for them, as on AWS. Python imports this module when it starts.
"""

import os
import socket
from typing import Any

_PORT = int(os.environ["BENCHMARK_AWS_PORT"])
_resolve = socket.getaddrinfo


def _resolve_on_loopback(host: Any, port: Any, *args: Any, **options: Any) -> Any:
    if isinstance(host, str) and host.endswith(".amazonaws.com"):
        host, port = "127.0.0.1", _PORT
    return _resolve(host, port, *args, **options)


socket.getaddrinfo = _resolve_on_loopback
