"""Every server of the local stack refuses requests of web pages, and malformed ones."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.listeners import BROWSERS, LISTENERS, PROGRAMS, Listener, serve_all

ROOT = Path(__file__).parents[2]

NAVIGATION = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
HELLO = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def listeners() -> Iterator[dict[str, Listener]]:
    """The servers, by name."""
    with serve_all() as running:
        yield running


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]"])
def test_program_on_this_machine_is_answered(
    listeners: dict[str, Listener], name: str, host: str
) -> None:
    """A request without headers of a browser is answered, under each name of this machine."""
    listener = listeners[name]
    assert listener.ask(host=f"{host}:{listener.port}") == listener.status


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:PORT",
        "localhost",
        "localhost:1",
        "localhost.evil.example:PORT",
        "127.0.0.1.evil.example:PORT",
        "localhost:PORT.evil.example",
        "evil@localhost:PORT",
        "172.17.0.1:PORT",
        "[::1]",
        ":PORT",
    ],
)
def test_foreign_host_is_refused(listeners: dict[str, Listener], name: str, host: str) -> None:
    """A page whose name resolves to loopback (DNS rebinding) gets 421 from every server."""
    listener = listeners[name]
    assert listener.ask(host=host.replace("PORT", str(listener.port))) == 421


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Origin: http://localhost:1",),
        ("Origin: http://localhost:PORT", "Origin: https://evil.example"),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
        ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"),
        ("Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"),
        ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: embed"),
    ],
)
def test_request_of_another_site_is_refused(
    listeners: dict[str, Listener], name: str, headers: tuple[str, ...]
) -> None:
    """A page of another site or port gets 403 from every server: scripts, images and frames."""
    listener = listeners[name]
    sent = [header.replace("PORT", str(listener.port)) for header in headers]
    assert listener.ask(*sent) == 403


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: http://localhost:PORT",),
        ("Sec-Fetch-Site: same-origin",),
        ("Sec-Fetch-Site: cross-site", *NAVIGATION),
        ("Sec-Fetch-Site: same-site", *NAVIGATION),
    ],
)
def test_server_of_programs_answers_no_page(
    listeners: dict[str, Listener], name: str, headers: tuple[str, ...]
) -> None:
    """A server that no browser uses refuses links to it too, and its own pages."""
    listener = listeners[name]
    sent = [header.replace("PORT", str(listener.port)) for header in headers]
    assert listener.ask(*sent) == 403


@pytest.mark.parametrize("name", BROWSERS)
@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", "none"])
def test_link_and_sign_in_redirect_are_answered(
    listeners: dict[str, Listener], name: str, site: str
) -> None:
    """A person follows a link to the load balancer or the provider, from any site."""
    assert listeners[name].ask(f"Sec-Fetch-Site: {site}", *NAVIGATION) == listeners[name].status


@pytest.mark.parametrize("name", BROWSERS)
def test_form_of_another_site_is_refused(listeners: dict[str, Listener], name: str) -> None:
    """A form of another site that a page submits gets 403, also in an old browser."""
    listener = listeners[name]
    post = listener.request_line.replace("GET", "POST")
    assert listener.ask("Sec-Fetch-Site: cross-site", *NAVIGATION, request_line=post) == 403
    assert listener.ask("Origin: https://evil.example", request_line=post) == 403


@pytest.mark.parametrize("name", BROWSERS)
def test_page_of_the_server_itself_is_answered(listeners: dict[str, Listener], name: str) -> None:
    """Pages of the load balancer and the provider call their own server."""
    listener = listeners[name]
    origin = f"Origin: http://localhost:{listener.port}"
    assert listener.ask(origin, "Sec-Fetch-Site: same-origin") == listener.status


@pytest.mark.parametrize(
    ("request_line", "headers"),
    [
        ("POST /moto-api/reset HTTP/1.1", ("Content-Type: text/plain",)),
        ("POST / HTTP/1.1", ("X-Amz-Target: DynamoDB_20120810.ListTables",)),
        ("GET /latest/meta-data/iam/security-credentials/ HTTP/1.1", ()),
        ("GET /sqs_us-east-1/?Action=ListQueues HTTP/1.1", ()),
    ],
)
def test_unsigned_request_of_aws_is_refused(
    listeners: dict[str, Listener], request_line: str, headers: tuple[str, ...]
) -> None:
    """A request that a page can send without a preflight has no signature, and gets 403."""
    aws = Listener(listeners["AWS"].port, request_line, 200)
    assert aws.ask(*headers) == 403


def test_signed_request_reaches_no_route_of_moto(listeners: dict[str, Listener]) -> None:
    """moto's own routes, which empty all tables, are closed for signed requests too."""
    assert listeners["AWS"].ask(request_line="POST /moto-api/reset HTTP/1.1") == 403


FRAMING = {
    "length and chunks": (b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", HELLO),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HELLO),
    "second coding": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", HELLO),
    "coding list": (b"Transfer-Encoding: gzip, chunked\r\n", HELLO),
    "unknown coding": (b"Transfer-Encoding: xchunked\r\n", HELLO),
    "two equal lengths": (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
    "two lengths": (b"Content-Length: 2\r\nContent-Length: 1\r\n", b"{}"),
    "length list": (b"Content-Length: 2, 2\r\n", b"{}"),
    "length with a sign": (b"Content-Length: +2\r\n", b"{}"),
    "negative length": (b"Content-Length: -1\r\n", b""),
    "length with an underscore": (b"Content-Length: 0_2\r\n", b"{}"),
    "hexadecimal length": (b"Content-Length: 0x2\r\n", b"{}"),
    "empty length": (b"Content-Length:\r\n", b""),
    "folded header": (b"X-A: 1\r\n 2\r\n", b""),
    "folded coding": (b"Transfer-Encoding:\r\n chunked\r\n", HELLO),
    "line feed alone": (b"X-A: 1\nTransfer-Encoding: chunked\r\n", HELLO),
    "carriage return in a value": (b"X-A: 1\rContent-Length: 2\r\n", b"{}"),
    "NUL in a value": (b"X-A: 1\0\r\n", b""),
    "blank before the colon": (b"Transfer-Encoding : chunked\r\n", HELLO),
    "no colon": (b"X-A\r\n", b""),
    "no name": (b": 1\r\n", b""),
    "second host": (b"Host: evil.example\r\n", b""),
    "chunk size with a prefix": (b"Transfer-Encoding: chunked\r\n", b"0x" + HELLO),
    "chunk size with a sign": (b"Transfer-Encoding: chunked\r\n", b"+" + HELLO),
    "chunk size with an underscore": (b"Transfer-Encoding: chunked\r\n", b"0_" + HELLO),
    "negative chunk size": (b"Transfer-Encoding: chunked\r\n", b"-" + HELLO),
    "chunk longer than its size": (b"Transfer-Encoding: chunked\r\n", b"4" + HELLO[1:]),
    "chunk that ends in a line feed": (
        b"Transfer-Encoding: chunked\r\n",
        HELLO.replace(b"hello\r\n", b"hello\n"),
    ),
    "last chunk that ends in a line feed": (
        b"Transfer-Encoding: chunked\r\n",
        HELLO[:-2] + b"\n",
    ),
}


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize("fault", FRAMING)
def test_malformed_request_is_refused(
    listeners: dict[str, Listener], name: str, fault: str
) -> None:
    """A request that two servers could read in two ways gets 400 from every server."""
    listener = listeners[name]
    headers, body = FRAMING[fault]
    lines = ["POST / HTTP/1.1", f"Host: localhost:{listener.port}", *listener.headers, ""]
    head = "\r\n".join(lines).encode()
    assert listener.send(head + headers + b"\r\n" + body) == 400


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://evil.example/ HTTP/1.1",
        "GET evil.example HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / HTTP/1.1 ",
        "GET /",
        "",
    ],
)
@pytest.mark.parametrize("name", LISTENERS)
def test_malformed_request_line_is_refused(
    listeners: dict[str, Listener], name: str, request_line: str
) -> None:
    """A request line without a path, or of another version, gets 400 from every server."""
    head = f"{request_line}\r\nHost: localhost:{listeners[name].port}\r\n\r\n"
    assert listeners[name].send(head.encode()) == 400


@pytest.mark.parametrize("name", LISTENERS)
def test_header_of_16_kilobytes_is_answered_and_a_longer_one_refused(
    listeners: dict[str, Listener], name: str
) -> None:
    """A header line has at most 16 KB, and all lines together 64 KB."""
    listener = listeners[name]
    longest = f"X-A: {'x' * (16_384 - 7)}"
    assert listener.ask(longest) == listener.status
    assert listener.ask(f"{longest}x") == 400
    assert listener.ask(*[longest] * 4) == 400


def test_chunked_body_has_one_reading(listeners: dict[str, Listener]) -> None:
    """A well-formed chunked body reaches the application, whole and in one piece."""
    listener = listeners["AWS"]
    head = "\r\n".join([listener.request_line, f"Host: localhost:{listener.port}"])
    chunked = "\r\n".join([head, *listener.headers, "Transfer-Encoding: chunked", "", ""])
    assert (
        listener.send(chunked.encode() + b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n")
        == 200
    )


def test_next_request_of_a_connection_keeps_its_bytes(listeners: dict[str, Listener]) -> None:
    """Two requests in one packet are two requests, and no byte of the second is in the first."""
    port = listeners["load balancer"].port
    head = f"POST /healthz HTTP/1.1\r\nHost: localhost:{port}\r\n".encode()
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + HELLO
    last = head + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(chunked + last)
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.count(b"HTTP/1.1") == 2


def test_client_that_asks_before_it_sends_is_told_to_go_on(listeners: dict[str, Listener]) -> None:
    """`Expect: 100-continue` gets 100 for a request that is answered, and no 100 for a page's."""
    listener = listeners["AWS"]
    assert listener.ask("Expect: 100-continue") == 100
    assert listener.ask("Expect: 100-continue", "Origin: null") == 403


def test_every_server_uses_the_guard() -> None:
    """No module of the local stack or the stand-ins builds a server beside the guarded ones."""
    handlers = re.compile(r"\((?:\w+, )*(BaseHTTPRequestHandler|WSGIRequestHandler)\)|run_simple")
    found = {
        path.name: handlers.findall(path.read_text())
        for folder in ("local", "stand_ins")
        for path in (ROOT / folder).glob("*.py")
    }
    assert {name: used for name, used in found.items() if used} == {
        "http_requests.py": ["BaseHTTPRequestHandler"],
        "listening.py": ["WSGIRequestHandler"],
    }
