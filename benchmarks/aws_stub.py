"""The stub of AWS: DynamoDB for a create, and the load balancers' public keys.

    python -m benchmarks.aws_stub CERTIFICATE_AND_KEY PUBLIC_KEY

Serves TLS on a free port of loopback, and prints the port. It is a process of its own with constant
answers, so its cost is not counted as the function's.
"""

import json
import ssl
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.browser import ISSUER, SHARED_TOKEN, SUBJECT

DYNAMODB = "dynamodb.us-east-1.amazonaws.com"
CALLS = "/calls"
"""The path of the numbers of calls so far, by operation."""

PUBLIC_KEYS = "public-keys.auth.elb.us-east-1.amazonaws.com"

_ROLES = {
    "scope": {"S": "project#research"},
    "entry": {"S": f"roles#user:{ISSUER}#{SUBJECT}"},
    "roles": {"SS": ["project:editor"]},
}
_WRITES = {"PutItem", "UpdateItem", "TransactWriteItems"}


def _found(read: dict[str, Any]) -> bytes:
    """The answer to a BatchGetItem: roles, the token of runners that share, and no runner."""
    found = {
        table: [
            {**SHARED_TOKEN, **key}
            for key in wanted["Keys"]
            if key.get("project", {}).get("S", "").startswith("tokens#")
        ]
        or ([_ROLES] if table == "AccessTable" else [])
        for table, wanted in read["RequestItems"].items()
    }
    return json.dumps({"Responses": found, "UnprocessedKeys": {}}).encode()


class _Answers(BaseHTTPRequestHandler):
    """Answers with the headers that AWS's own answers have."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    public_key: ClassVar[bytes]
    calls: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        """DynamoDB: every write succeeds, the browser's person is an editor, and a token exists."""
        body = self.rfile.read(int(self.headers["content-length"]))
        operation = self.headers["x-amz-target"].partition(".")[2]
        self.calls[operation] += 1
        answer = _found(json.loads(body)) if operation == "BatchGetItem" else b"{}"
        self.send_response(200 if operation in _WRITES or operation == "BatchGetItem" else 400)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("x-amzn-RequestId", "1BQ3N7AJ2Q4SDPK1S6MDSQQ3VJVV4KQNSO5AEMVJF66Q9ASUAAJG")
        self.send_header("x-amz-crc32", str(zlib.crc32(answer)))
        self._send_body(answer)

    def do_GET(self) -> None:
        """The load balancers' public keys: the same key for every id. Or the calls so far."""
        self.send_response(200)
        self.send_header("Content-Type", "binary/octet-stream")
        is_count = self.path == CALLS
        self._send_body(json.dumps(self.calls).encode() if is_count else self.public_key)

    def _send_body(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: measured processes are killed and drop their connections."""


@contextmanager
def aws_stub(certificate: Path, public_key: Path) -> Iterator[int]:
    """Runs the stub in a process of its own, and gives its port."""
    command = (sys.executable, "-m", "benchmarks.aws_stub", certificate, public_key)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def main() -> None:
    """Serve until killed."""
    certificate, public_key = sys.argv[1:]
    _Answers.public_key = Path(public_key).read_bytes()
    server = _Server(("127.0.0.1", 0), _Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # The handshake is left to the connection's thread, so that it does not block other connections.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
