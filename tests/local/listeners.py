"""Every server of the local stack, each with a request that it answers, sent as raw bytes."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from local.aws_process import AwsOnly
from local.guard import Clients
from local.listening import WebServer, listen
from local.load_balancer_events import Reply
from local.load_balancer_http import HttpServer
from local.load_balancer_signing import Signer, public_keys
from local.openid_provider import OpenIDProvider
from local.runtime_api import Invocation, RuntimeApi
from stand_ins.authorization_service import serve_authorization
from stand_ins.aws_server import serve_aws

PROGRAMS = ("AWS", "public keys", "runtime API", "authorization service", "AWS stand-in")
BROWSERS = ("load balancer", "OpenID provider")
LISTENERS = (*PROGRAMS, *BROWSERS)

LIST_TABLES = (
    "X-Amz-Target: DynamoDB_20120810.ListTables",
    "Authorization: AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/dynamodb/aws4_request",
)


class NoInstance:
    """A function instance that gets no requests."""

    def next_invocation(self) -> Invocation | None:
        """No invocation."""

    def on_restore(self) -> None:
        """Ignore it."""

    def on_answer(self, request_id: str, answer: bytes) -> None:
        """Ignore it."""

    def on_error(self, report: bytes) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A server on `port`, and a request that it answers with `status`."""

    port: int
    request_line: str
    status: int
    headers: Sequence[str] = ()
    body: bytes = b""

    def ask(self, *headers: str, host: str | None = None, request_line: str = "") -> int:
        """The status of the answer to its request with further headers."""
        lines = [request_line or self.request_line, f"Host: {host or f'localhost:{self.port}'}"]
        lines += [*self.headers, *headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode() + self.body)

    def send(self, data: bytes) -> int:
        """The status of the answer to `data`. 0 if there is none."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(data)
            answer = connection.recv(65_536)
        return int(answer.split()[1]) if answer else 0


@contextmanager
def serve_all() -> Iterator[dict[str, Listener]]:
    """Run every server until the block ends. Yields them by name."""
    with ExitStack() as exits:
        signer = Signer()

        def web(application: Any, clients: Clients = Clients.PROGRAMS) -> int:
            listener = listen(0)
            port: int = listener.getsockname()[1]
            exits.enter_context(WebServer(application, listener, clients=clients))
            return port

        def run(server: Any) -> int:
            Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            exits.callback(server.server_close)
            exits.callback(server.shutdown)
            return int(server.server_address[1])

        authorization = exits.enter_context(serve_authorization()).url
        aws = exits.enter_context(serve_aws()).url
        health = HttpServer(listen(0), answer=lambda _: Reply(200))
        provider = OpenIDProvider("http://127.0.0.1")
        yield {
            "load balancer": Listener(run(health), "GET /healthz HTTP/1.1", 200),
            "OpenID provider": Listener(
                web(provider.application, Clients.BROWSERS), "GET /jwks.json HTTP/1.1", 200
            ),
            "public keys": Listener(
                web(public_keys({signer.kid: signer.public_key})),
                f"GET /{signer.kid} HTTP/1.1",
                200,
            ),
            "AWS": Listener(
                web(AwsOnly(), Clients.SIGNING_PROGRAMS), "POST / HTTP/1.1", 200, LIST_TABLES, b"{}"
            ),
            "AWS stand-in": Listener(_port(aws), "POST / HTTP/1.1", 200, LIST_TABLES, b"{}"),
            "authorization service": Listener(
                _port(authorization), "POST /v1/authz/other HTTP/1.1", 404, (), b'{"resource": 0}'
            ),
            "runtime API": Listener(run(RuntimeApi(NoInstance(), "arn")), "GET / HTTP/1.1", 404),
        }


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
