"""One GET that cannot hurt, against real servers on loopback."""

import gzip
import os
import shutil
import socket as socket_module
import ssl
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import create_server, socket
from typing import Any

import pytest
import trustme

import byline
from byline.fetch import (
    MAX_ANSWER_BYTES,
    MAX_RECEIVED_BYTES,
    Answer,
    FetchFailed,
    fetch,
    post,
)
from byline.registration.authorization_service import post_json
from tests.identity.loopback import Respond, answer, drip, serve, silence

LIMIT = 0.4
"""Seconds: `timeout_seconds` of the tests that wait for its end."""


def failure_of(respond: Respond, *, timeout_seconds: float = 3.0) -> str:
    """The message with which a fetch from such a server fails."""
    with serve(respond) as server, pytest.raises(FetchFailed) as failure:
        fetch(server.url, timeout_seconds=timeout_seconds)
    return str(failure.value)


@pytest.mark.parametrize(
    "respond",
    [
        answer(b"a key"),
        answer(b"5\r\na key\r\n0\r\n\r\n", headers="Transfer-Encoding: chunked\r\n"),
    ],
    ids=["length", "chunked"],
)
def test_answer_is_status_and_body(respond: Respond) -> None:
    """The one good case, in both framings."""
    with serve(respond) as server:
        assert fetch(f"{server.url}/keys/1?version=2") == Answer(200, b"a key")
    assert server.requests[0].startswith(b"GET /keys/1?version=2 HTTP/1.1\r\n")


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "500 Oh", "204 No Content"])
def test_answer_of_another_status_is_told_as_it_is(status: str) -> None:
    """What a status means is for the caller to say."""
    with serve(answer(b"", status=status)) as server:
        assert fetch(server.url).status == int(status[:3])


def test_headers_are_sent_and_nothing_else_that_tells_who_asks() -> None:
    """The caller's headers, and neither cookies nor credentials of the environment."""
    with serve(answer(b"{}")) as server:
        fetch(server.url, headers={"Authorization": "Bearer a.b.c"})
    names = {line.split(b":")[0].lower() for line in server.requests[0].split(b"\r\n")[1:] if line}
    assert names == {b"host", b"accept-encoding", b"authorization", b"connection", b"user-agent"}


def test_every_request_names_byline_and_its_version() -> None:
    """Firewalls before issuers refuse requests without a user agent."""
    line = f"\r\nUser-Agent: byline/{byline.VERSION}\r\n".encode()
    with serve(answer(b"{}")) as server:
        fetch(server.url)
        post(server.url, form={"a": "b"})
        post_json(server.url, document=b"{}")
    assert [line in request for request in server.requests] == [True, True, True]


def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used, so it does not see or change the keys."""
    with serve(answer(b"theirs")) as proxy, serve(answer(b"ours")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert fetch(server.url).body == b"ours"
    assert not proxy.requests


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temp", "308 Perm"])
def test_redirect_is_not_followed(status: str) -> None:
    """Keys come from where they are configured to be, and from nowhere else."""
    with serve(answer(b"stolen")) as elsewhere:
        redirect = answer(status=status, headers=f"Location: {elsewhere.url}/keys\r\n")
        assert "redirect" in failure_of(redirect)
    assert not elsewhere.requests


def test_largest_answer_is_read_and_one_more_byte_is_not() -> None:
    """Memory is bounded, whatever a server sends."""
    with serve(answer(b"x" * MAX_ANSWER_BYTES)) as server:
        assert len(fetch(server.url).body) == MAX_ANSWER_BYTES
    assert "bytes" in failure_of(answer(b"x" * (MAX_ANSWER_BYTES + 1)))


def test_endless_answer_is_given_up() -> None:
    """An answer without an end is read no further than its limit."""

    def endless(connection: socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not over.is_set():
            connection.sendall(b"x" * 65_536)

    assert "bytes" in failure_of(endless)


LARGE = 64_000_000
"""Bytes that a server tries to send where the client must not keep them."""


def pour(head: bytes, part: bytes) -> Respond:
    """`head`, and `part` until the client hangs up or has taken `LARGE` bytes."""

    def respond(connection: socket, over: threading.Event) -> None:
        connection.sendall(head)
        block = part * (65_536 // len(part))
        for _ in range(LARGE // len(block)):
            if over.is_set():
                return
            connection.sendall(block)

    return respond


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "respond",
    [
        pour(CHUNKED + b"-1\r\n", b"x"),
        pour(CHUNKED + b"-ffffffff\r\n", b"x"),
        pour(CHUNKED + b"fffffffff\r\n", b"x"),
        pour(CHUNKED, b"1\r\nx\r\n"),
        pour(CHUNKED, b"1;" + b"e" * 1_000 + b"\r\nx\r\n"),
        pour(CHUNKED + b"0\r\n", b"X: " + b"x" * 1_000 + b"\r\n"),
        pour(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x"),
        pour(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"x"),
        pour(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        pour(b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 60_000 + b"\r\n"),
        pour(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        pour(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        answer(gzip.compress(b"\0" * LARGE, compresslevel=9)),
        answer(gzip.compress(b"\0" * LARGE, compresslevel=9), headers="Content-Encoding: gzip\r\n"),
    ],
    ids=[
        "chunk of -1",
        "very negative chunk",
        "huge chunk",
        "tiny chunks",
        "chunk extensions",
        "trailers",
        "huge length",
        "negative length",
        "until close",
        "many headers",
        "long header",
        "interim answers",
        "bomb",
        "announced bomb",
    ],
)
def test_answer_takes_no_more_memory_than_its_bound(respond: Respond) -> None:
    """Whatever its framing says. One answer must not end the process that others share."""
    with serve(respond) as server:
        tracemalloc.start()
        try:
            with pytest.raises(FetchFailed):
                fetch(server.url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 * MAX_RECEIVED_BYTES


@pytest.mark.parametrize("headers", ["", "Content-Encoding: gzip\r\n"])
def test_compressed_answer_within_the_bound_is_unpacked(headers: str) -> None:
    """Some servers compress although nobody asked, and some do not say so."""
    body = b"x" * MAX_ANSWER_BYTES
    with serve(answer(gzip.compress(body), headers=headers)) as server:
        assert fetch(server.url).body == body
    assert "unpacked" in failure_of(answer(gzip.compress(body + b"x"), headers=headers))


def test_compressed_answer_that_is_spoilt_is_refused() -> None:
    """Cut short, or with another checksum."""
    packed = gzip.compress(b"SECRET" * 100)
    assert failure_of(answer(packed[:-9])) == "the compressed answer is incomplete"
    assert "cannot be unpacked" in failure_of(answer(packed[:-8] + b"12345678"))


def test_uncompressed_answer_that_claims_to_be_compressed_is_read() -> None:
    """A proxy has unpacked it and left the header."""
    with serve(answer(b"a key", headers="Content-Encoding: gzip\r\n")) as server:
        assert fetch(server.url).body == b"a key"


def test_byte_order_mark_is_left_out() -> None:
    """RFC 8259, section 8.1: a reader may ignore it, and JSON readers refuse it."""
    with serve(answer(b"\xef\xbb\xbf{}")) as server:
        assert fetch(server.url).body == b"{}"
    with serve(answer(gzip.compress(b"\xef\xbb\xbf{}"))) as server:
        assert fetch(server.url).body == b"{}"


@pytest.mark.parametrize(
    "respond",
    [
        silence,
        drip(b"", every=0.05, byte=b"H"),
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", every=0.05),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", every=0.05),
        drip(b"HTTP/1.1 200 OK\r\n\r\n", every=0.05),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", every=0.05, byte=b"0"),
    ],
    ids=["silence", "status", "headers", "length", "until close", "chunk size"],
)
def test_slow_server_is_given_up_in_time(respond: Respond) -> None:
    """A byte now and then resets a socket's time limit, and not ours; no thread stays behind."""
    with serve(respond) as server:
        threads = threading.active_count()
        start = time.monotonic()
        with pytest.raises(FetchFailed, match=f"not done within {LIMIT} s"):
            fetch(server.url, timeout_seconds=LIMIT)
        assert time.monotonic() - start < LIMIT + 2
        # The server goes on dripping: it is we who hung up.
        wait_for(lambda: threading.active_count() <= threads)


def test_slow_name_resolution_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolving a name has no time limit of its own; what comes of it late is not used."""
    resolve = socket_module.getaddrinfo
    go_on, connected = threading.Event(), threading.Event()

    def resolve_late(*arguments: Any) -> Any:
        go_on.wait(10)
        return resolve(*arguments)

    def respond(_connection: socket, _over: threading.Event) -> None:
        connected.set()

    monkeypatch.setattr(socket_module, "getaddrinfo", resolve_late)
    with serve(respond) as server:
        threads = threading.active_count()
        with pytest.raises(FetchFailed, match=f"not done within {LIMIT} s"):
            fetch(server.url, timeout_seconds=LIMIT)
        go_on.set()
        wait_for(lambda: threading.active_count() <= threads)
        assert connected.wait(5)
    assert not any(server.requests)


def test_port_without_a_server_fails() -> None:
    """The error names the cause, and tells a developer what to start."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FetchFailed, match=r"ConnectionRefusedError: .* Is `make up` running"):
        fetch(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "respond",
    [
        answer(b"SECRET", status="SECRET"),
        answer(b"", headers="SECRET\r\n" * 200),
        answer(b"", headers=f"X: {'SECRET' * 20_000}\r\n"),
        answer(b"SECRET", headers="Transfer-Encoding: chunked\r\n"),
        answer(b"SECRET", headers="Content-Length: 100\r\n"),
        lambda connection, _: connection.sendall(b"SECRET\r\n\r\n"),
        lambda connection, _: None,
    ],
    ids=["status", "many", "long", "chunk", "short", "no http", "nothing"],
)
def test_answer_that_is_no_http_fails_and_is_not_quoted(respond: Respond) -> None:
    """What a server sends is in no message: it may echo what was sent to it."""
    assert "SECRET" not in failure_of(respond)


@pytest.mark.parametrize("value", ["SECRET\r\nX: 1", "SECRET\n", "SECRET\ud800"])
def test_header_that_cannot_be_sent_is_not_quoted(value: str) -> None:
    """A token in a header never comes back in an error, its chain included."""
    with serve(answer()) as server, pytest.raises(FetchFailed) as failure:
        fetch(server.url, headers={"Authorization": f"Bearer {value}"})
    error: BaseException | None = failure.value
    assert "SECRET" not in "".join(traceback.format_exception(error))
    while error is not None:
        assert "SECRET" not in f"{error!r}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example.com/1",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1.example.com/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//127.0.0.1/",
        "127.0.0.1",
        "",
    ],
)
def test_other_than_https_is_not_fetched(url: str) -> None:
    """Plain HTTP is for loopback alone, and no other scheme is known."""
    with pytest.raises(FetchFailed, match="neither https nor"):
        fetch(url)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999/", "http://[::1", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: 1"],
)
def test_address_that_is_none_fails(url: str) -> None:
    """No address makes anything but `FetchFailed`."""
    with pytest.raises(FetchFailed):
        fetch(url)


# TLS, with authorities of the test.


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The authority is what the operating environment trusts."""
    with authority.cert_pem.tempfile() as bundle:
        monkeypatch.setenv("SSL_CERT_FILE", bundle)
        yield


def tls(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


@pytest.mark.usefixtures("trusted")
def test_trusted_certificate_is_accepted(authority: trustme.CA) -> None:
    """The good case over TLS."""
    with serve(answer(b"a key"), tls=tls(authority, "localhost")) as server:
        assert fetch(f"https://localhost:{server.port}/") == Answer(200, b"a key")


def test_untrusted_certificate_is_refused(authority: trustme.CA) -> None:
    """A request is sent only after the certificate was trusted."""
    assert_untrusted(tls(authority, "localhost"))


@pytest.mark.usefixtures("trusted")
def test_certificate_of_another_host_is_refused(authority: trustme.CA) -> None:
    """A trusted authority's certificate counts for its own host alone."""
    assert_untrusted(tls(authority, "other.example.com"))


@pytest.mark.usefixtures("trusted")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_protocol_is_refused(authority: trustme.CA) -> None:
    """TLS 1.2 is the oldest that is spoken (RFC 9325, section 3.1.1)."""
    context = tls(authority, "localhost")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with serve(answer(), tls=context) as server, pytest.raises(FetchFailed, match="SSL"):
        fetch(f"https://localhost:{server.port}/")
    assert not server.requests


def assert_untrusted(context: ssl.SSLContext) -> None:
    with serve(answer(), tls=context) as server, pytest.raises(FetchFailed) as failure:
        fetch(f"https://localhost:{server.port}/")
    assert str(failure.value) == "the certificate is not trusted"
    assert not server.requests


# Amazon's roots are a file that the layer's build puts beside the code, so these tests do the same.

AWS_HOST = "keys.auth.elb.us-east-1.amazonaws.com"

_FETCH_FROM_AWS = f"""
import socket, sys
from byline.fetch import FetchFailed, fetch
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest: resolve(
    "127.0.0.1" if host == "{AWS_HOST}" else host, *rest
)
try:
    print(fetch("https://{AWS_HOST}:" + sys.argv[1] + "/").body.decode())
except FetchFailed as failure:
    print(failure)
"""


def fetch_from_aws(
    authority: trustme.CA,
    folder: Path,
    *,
    amazon: trustme.CA | None = None,
    public: trustme.CA | None = None,
    operator: trustme.CA | None = None,
) -> str:
    """What a process prints whose layer holds the roots `amazon`, and whose host has the others."""
    package = folder / "byline"
    shutil.copytree(Path(byline.__file__).parent, package)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment["PYTHONPATH"] = str(folder)
    if amazon is not None:
        amazon.cert_pem.write_to_path(package / "amazon_roots.pem")
    for name, roots in (("SSL_CERT_FILE", public), ("AWS_CA_BUNDLE", operator)):
        if roots is not None:
            roots.cert_pem.write_to_path(folder / name)
            environment[name] = str(folder / name)
    with serve(answer(b"a key"), tls=tls(authority, AWS_HOST)) as server:
        done = subprocess.run(
            [sys.executable, "-c", _FETCH_FROM_AWS, str(server.port)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    return done.stdout.strip()


def test_aws_host_of_amazons_roots_is_accepted(authority: trustme.CA, tmp_path: Path) -> None:
    """The quick way: five roots, and no others are loaded."""
    assert fetch_from_aws(authority, tmp_path, amazon=authority, public=trustme.CA()) == "a key"


def test_aws_host_of_another_root_is_tried_with_all(authority: trustme.CA, tmp_path: Path) -> None:
    """The full bundle is tried before giving up: AWS may change its certificates' roots."""
    assert fetch_from_aws(authority, tmp_path, amazon=trustme.CA(), public=authority) == "a key"


def test_aws_host_of_no_root_at_all_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    """The second attempt does not trust an unknown authority."""
    answered = fetch_from_aws(authority, tmp_path, amazon=trustme.CA(), public=trustme.CA())
    assert answered == "the certificate is not trusted"


def test_operators_own_bundle_is_never_widened(authority: trustme.CA, tmp_path: Path) -> None:
    """With `AWS_CA_BUNDLE`, only the authorities in it are trusted."""
    answered = fetch_from_aws(
        authority, tmp_path, amazon=authority, public=authority, operator=trustme.CA()
    )
    assert answered == "the certificate is not trusted"


def wait_for(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
