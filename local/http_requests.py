"""Reads HTTP/1.1 requests strictly, and refuses those of web pages, for each server on loopback.

h11 parses them. It takes a few requests that other servers read in another way, which is how one
request is smuggled behind another (RFC 9112, section 11.2). `_check_head` refuses those.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler
from io import BufferedReader, BytesIO
from typing import ClassVar, cast

import h11

from local.guard import Clients, refusal

MAX_LINE_BYTES = 16_384
# A load balancer answers longer ones with 400:
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#http-400-issues
MAX_HEAD_BYTES = 65_536
"""The limits of a load balancer for one header and for all headers, in bytes."""

MAX_BODY_BYTES = 16_777_216
"""The largest request of DynamoDB (`BatchWriteItem`), in bytes."""

DRAIN_SECONDS = 1.0
"""How long a refused client that is still sending may pause, before the connection ends."""

_LINE = re.compile(rb"[^\r\n\0]+\r\n")
_FRAMING = (b"content-length", b"transfer-encoding")
_DONE_HERE = (b"expect", b"transfer-encoding")
_LAST_CHUNK_ENDS = b"\r\n\r\n"


class BadRequest(Exception):
    """The request is refused before it reaches the application. `text` is for the client."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class GuardedRequests(BaseHTTPRequestHandler):
    """Calls `do_GET` and so on for each request that is valid and comes from no web page.

    They find the request as the base class documents, and the whole body in `rfile`. A chunked body
    has a `Content-Length` there, as any other. `clients` says who the server is for.
    """

    protocol_version = "HTTP/1.1"
    clients: ClassVar[Clients] = Clients.PROGRAMS
    max_body_bytes: ClassVar[int] = MAX_BODY_BYTES

    def handle_one_request(self) -> None:
        """Read a request and answer it. Sets `close_connection` if it was the last one."""
        self.close_connection = True
        self.command, self.path, self.requestline = "", "", ""
        self.request_version = self.protocol_version
        connection = cast("BufferedReader", self.rfile)
        try:
            body = self._read(connection)
        except BadRequest as bad:
            self.refuse(bad.status, bad.text)
            self._drain(connection)
            return
        except (EOFError, TimeoutError):
            return
        self.rfile = BytesIO(body)
        try:
            getattr(self, f"do_{self.command}", self._refuse_method)()
            self.wfile.flush()
        finally:
            self.rfile = connection

    def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer with a sentence, and end the connection."""
        body = f"{status.value} {status.phrase}: {text}\n".encode()
        self.close_connection = True
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _refuse_method(self) -> None:
        self.refuse(HTTPStatus.NOT_IMPLEMENTED, "This server does not know the method.")

    def _read(self, connection: BufferedReader) -> bytes:
        head = _read_head(connection)
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        try:
            parser.receive_data(head)
            request = cast("h11.Request", parser.next_event())
            self._take(request)
            if parser.they_are_waiting_for_100_continue:
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
            body = bytearray()
            for part in _read_body(parser, connection, _LAST_CHUNK_ENDS if is_chunked else b""):
                body += part
                if len(body) > self.max_body_bytes:
                    raise BadRequest(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"A body has at most {self.max_body_bytes} bytes.",
                    )
        except h11.RemoteProtocolError:
            # Without the error's text, which quotes the line, and the line may hold a token.
            raise _malformed("is not valid HTTP/1.1") from None
        if is_chunked:
            self.headers["Content-Length"] = str(len(body))
        return bytes(body)

    def _take(self, request: h11.Request) -> None:
        """Set the attributes of the base class. Raises `BadRequest` if the guard refuses."""
        self.command = request.method.decode()
        self.path = request.target.decode()
        self.request_version = f"HTTP/{request.http_version.decode()}"
        self.requestline = f"{self.command} {self.path} {self.request_version}"
        self.headers = HTTPMessage()
        for name, value in request.headers.raw_items():
            if name.lower() not in _DONE_HERE:
                self.headers[name.decode()] = value.decode("latin-1")
        if not self.path.startswith("/"):
            raise _malformed("has a target that is not a path")
        options = ",".join(self.headers.get_all("connection", [])).lower().split(",")
        is_last = "close" in (option.strip() for option in options)
        self.close_connection = is_last or request.http_version == b"1.0"
        port = cast("tuple[str, int]", self.server.server_address)[1]
        refused = refusal(self.command, self.headers.items(), port=port, clients=self.clients)
        if refused is not None:
            raise BadRequest(refused.status, refused.text)

    def _drain(self, connection: BufferedReader) -> None:
        """Read what a refused client is sending: otherwise it may see a reset, and no answer."""
        left = MAX_BODY_BYTES
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(DRAIN_SECONDS)
            while left > 0 and (data := connection.read1(65_536)):
                left -= len(data)


def _read_head(connection: BufferedReader) -> bytes:
    """The request line and headers, checked. Raises `EOFError` if the client has gone."""
    lines: list[bytes] = []
    size = 0
    while True:
        line = connection.readline(MAX_LINE_BYTES + 1)
        size += len(line)
        if not line and not lines:
            raise EOFError
        if len(line) > MAX_LINE_BYTES or size > MAX_HEAD_BYTES:
            raise BadRequest(
                HTTPStatus.BAD_REQUEST,
                f"A header has at most {MAX_LINE_BYTES} bytes, and all have {MAX_HEAD_BYTES}.",
            )
        if line == b"\r\n" and lines:
            break
        if not _LINE.fullmatch(line):
            raise _malformed("has a line that does not end in CR LF, or a CR or NUL in a line")
        lines.append(line)
    _check_head(lines)
    return b"".join((*lines, b"\r\n"))


def _check_head(lines: list[bytes]) -> None:
    """Raise `BadRequest` for heads that h11 takes."""
    request_line, *headers = lines
    if not request_line.endswith((b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")):
        raise _malformed("is not valid HTTP/1.1")
    if any(line.startswith((b" ", b"\t")) for line in headers):
        raise _malformed("has a folded header")
    fields = [line.lower().partition(b":")[::2] for line in headers]
    framing = [(name, value.strip()) for name, value in fields if name in _FRAMING]
    if len(framing) > 1 or any(b"," in value for _, value in framing):
        raise _malformed("has more than one length or coding")
    is_old = request_line.endswith(b"0\r\n")
    if any(
        name == b"transfer-encoding" and (value != b"chunked" or is_old) for name, value in framing
    ):
        raise _malformed("has a Transfer-Encoding other than chunked")


def _read_body(
    parser: h11.Connection, connection: BufferedReader, ending: bytes
) -> Iterator[bytes]:
    """The parts of the body, which ends with `ending`. Leaves later bytes in `connection`."""
    data = last = b""
    while True:
        event = parser.next_event()
        if isinstance(event, h11.Data):
            yield event.data
            continue
        is_over = isinstance(event, h11.EndOfMessage)
        used = data[: len(data) - len(parser.trailing_data[0])] if is_over else data
        connection.read(len(used))
        last = (last + used)[-len(_LAST_CHUNK_ENDS) :]
        if is_over:
            if not last.endswith(ending):
                raise _malformed("has a last chunk that does not end in CR LF")
            return
        data = connection.peek(1)
        parser.receive_data(data)


def _malformed(what: str) -> BadRequest:
    return BadRequest(HTTPStatus.BAD_REQUEST, f"The request {what}.")
