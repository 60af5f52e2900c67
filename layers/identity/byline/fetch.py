"""HTTP requests with a limit of time and size and without redirects.

Errors quote neither the request nor the answer. The client is `http.client`: botocore has loaded it
already, so it adds nothing to a cold start. It does not follow redirects, retry, use proxies, keep
cookies or ask for compression. An answer that is compressed all the same is unpacked.
"""

import os
import ssl
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from socket import SHUT_RDWR, socket
from threading import Thread
from typing import Any, Protocol
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from byline import VERSION
from byline.tls import contexts

MAX_ANSWER_BYTES = 262_144
"""The largest expected answer is a key set, with a few hundred bytes to a few KB a key."""

MAX_RECEIVED_BYTES = 2 * MAX_ANSWER_BYTES
"""The most that is received for an answer: status, headers, body, and the frames around its chunks.
`http.client` limits none of their sums: it takes a chunk of -1 bytes for all that follows, and
reads any number of interim answers (1xx)."""

USER_AGENT = f"byline/{VERSION}"
"""Firewalls before issuers refuse requests without a user agent."""

TIMEOUT_SECONDS = 3.0
NO_LOCAL_STACK = "ConnectionRefusedError: nothing listens there. Is `make up` running?"

POST_TIMEOUT_SECONDS = 5.0
"""Longer than for a GET: an issuer checks a secret and signs a token before it answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of any status but a redirect. `retry_after` is the header's text.

    The body may hold a token, so `repr` does not show it.
    """

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None


class FetchFailed(Exception):
    """No usable answer came. The message names the cause: network, TLS, time, size, redirect."""


class TimedOut(FetchFailed):
    """No answer came in time."""


class AnswerRefused(FetchFailed):
    """An answer came that is not used: a redirect, or one that is too long or incomplete."""


class AnswerCutShort(AnswerRefused):
    """The connection ended before the whole answer came. The same request may succeed later."""


class Fetch(Protocol):
    """The answer to a GET of `url`. Raises `FetchFailed`."""

    def __call__(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer: ...


class Post(Protocol):
    """The answer to a POST of `form`, URL-encoded, to `url`. Raises `FetchFailed`."""

    def __call__(
        self, url: str, *, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer: ...


def fetch(
    url: str, *, headers: Mapping[str, str] | None = None, timeout_seconds: float = TIMEOUT_SECONDS
) -> Answer:
    """The answer to a GET of `url`, within `timeout_seconds` and `MAX_ANSWER_BYTES`.

    Raises `FetchFailed`: `TimedOut` where no answer came in time, `AnswerRefused` for a redirect,
    a longer or an incomplete answer.
    """
    return send("GET", url, headers=headers or {}, timeout_seconds=timeout_seconds)


def post(
    url: str,
    *,
    form: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = POST_TIMEOUT_SECONDS,
) -> Answer:
    """The answer to a POST of `form`, URL-encoded, with the limits and errors of `fetch`."""
    headers = {**(headers or {}), "Content-Type": "application/x-www-form-urlencoded"}
    return send(
        "POST",
        url,
        headers=headers,
        timeout_seconds=timeout_seconds,
        body=lambda: urlencode(form).encode(),
    )


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    timeout_seconds: float,
    body: Callable[[], bytes] | None = None,
) -> Answer:
    """The answer to any request, with the limits and errors of `fetch`.

    It runs in a thread of its own, because only so can its whole time be limited: a socket's
    timeout starts again with each address and each received byte.
    """
    headers = {"User-Agent": USER_AGENT, **headers, "Connection": "close"}
    request = _Request(method, url, headers, timeout_seconds, body)
    Thread(target=request.run, daemon=True).start()
    try:
        outcome = request.outcome.get(timeout=timeout_seconds)
    except Empty:
        request.hang_up()
        outcome = TimedOut(f"not done within {timeout_seconds} s")
    if isinstance(outcome, FetchFailed):
        raise outcome
    return outcome


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: `localhost`, 127.0.0.0/8 or ::1 (RFC 6761, 6.3)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_runtime_api(parts: SplitResult) -> bool:
    """Whether the URL is Lambda's runtime API, which is on loopback like a local issuer."""
    port = os.environ.get("AWS_LAMBDA_RUNTIME_API", "").rpartition(":")[2]
    return bool(port) and str(parts.port or 80) == port


@dataclass(repr=False)
class _Request:
    """One request in progress, and its outcome. No `repr`: it may hold a secret."""

    method: str
    url: str
    headers: Mapping[str, str]
    timeout_seconds: float
    body: Callable[[], bytes] | None
    outcome: SimpleQueue[Answer | FetchFailed] = field(default_factory=SimpleQueue)
    connected: socket | None = None
    is_given_up: bool = False

    def run(self) -> None:
        try:
            self.outcome.put(self._answer())
        except FetchFailed as failure:
            self.outcome.put(failure)
        except TimeoutError:
            self.outcome.put(TimedOut(f"not done within {self.timeout_seconds} s"))
        except Exception as error:
            # Only the class of the error, because its message may quote the request. All errors
            # are caught, because Python prints an error that ends a thread.
            self.outcome.put(FetchFailed(type(error).__name__))

    def hang_up(self) -> None:
        """End the request: its thread wakes up with an error, which is ignored."""
        self.is_given_up = True
        if self.connected is not None:
            with suppress(OSError):
                self.connected.shutdown(SHUT_RDWR)

    def _answer(self) -> Answer:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "http" and is_loopback(host) and not _is_runtime_api(parts):
            connection = HTTPConnection(host, parts.port, timeout=self.timeout_seconds)
            try:
                return self._exchange(connection, parts)
            except ConnectionRefusedError:
                # Only a developer's machine has a server on loopback.
                raise FetchFailed(NO_LOCAL_STACK) from None
        if parts.scheme != "https":
            raise FetchFailed("the URL is neither https nor http on loopback")
        for context in contexts(host):
            connection = HTTPSConnection(
                host, parts.port, timeout=self.timeout_seconds, context=context
            )
            with suppress(ssl.SSLCertVerificationError):
                return self._exchange(connection, parts)
        raise FetchFailed("the certificate is not trusted")

    def _exchange(self, connection: HTTPConnection, parts: SplitResult) -> Answer:
        target = urlunsplit(("", "", parts.path, parts.query, "")) or "/"
        connection.response_class = _BoundedResponse
        try:
            connection.connect()
            self.connected = connection.sock
            if self.is_given_up:
                # The caller has given up, and would never learn the outcome of a request.
                raise TimedOut("not connected in time")
            body = None if self.body is None else self.body()
            connection.request(self.method, target, body=body, headers=self.headers)
            with connection.getresponse() as response:
                if 300 <= response.status < 400:
                    raise AnswerRefused("the answer is a redirect, which is not followed")
                answered = response.read(MAX_ANSWER_BYTES + 1)
                if len(answered) > MAX_ANSWER_BYTES:
                    raise AnswerRefused(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
                if response.length:
                    raise AnswerCutShort("the answer is incomplete")
                retry_after = response.getheader("Retry-After")
                return Answer(response.status, _unpacked(answered), retry_after)
        finally:
            connection.close()


class _BoundedResponse(HTTPResponse):
    """An answer of which at most `MAX_RECEIVED_BYTES` are received."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = BufferedReader(_Counted(self.fp.detach()))


class _Counted(RawIOBase):
    """The bytes of `stream`. Raises `AnswerRefused` beyond `MAX_RECEIVED_BYTES`."""

    def __init__(self, stream: RawIOBase) -> None:
        self._stream = stream
        self._left = MAX_RECEIVED_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        received = self._stream.readinto(buffer) or 0
        self._left -= received
        if self._left < 0:
            raise AnswerRefused(f"the answer has more than {MAX_RECEIVED_BYTES} bytes in all")
        return received

    def close(self) -> None:
        self._stream.close()
        super().close()


def _unpacked(body: bytes) -> bytes:
    """The body without gzip and without a byte order mark, which RFC 8259, 8.1, lets us ignore.

    Some servers compress unasked, and some without `Content-Encoding`. No other body that is
    expected begins with gzip's two bytes (RFC 1952, section 2.3.1).
    """
    if body.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            body = unpacker.decompress(body, MAX_ANSWER_BYTES + 1)
        except zlib.error:
            raise AnswerRefused("the answer is compressed and cannot be unpacked") from None
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerRefused(f"the unpacked answer has more than {MAX_ANSWER_BYTES} bytes")
        if not unpacker.eof:
            raise AnswerCutShort("the compressed answer is incomplete")
    return body.removeprefix(b"\xef\xbb\xbf")
