"""One request that cannot hurt: bounded in time and size, no redirects, and errors quote neither it
nor its answer.

`http.client`, because botocore has it loaded already (another client would cost its import at every
cold start that meets a new key), and because it does nothing of its own accord: no redirects,
retries, proxies, cookies or decompression.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from socket import SHUT_RDWR, socket
from threading import Thread
from typing import Protocol
from urllib.parse import SplitResult, urlencode, urlsplit

from byline.errors import Misconfigured
from byline.tls import contexts

MAX_ANSWER_BYTES = 262_144
"""The largest answer expected is a key set: a few hundred bytes to a few KB a key."""

TIMEOUT_SECONDS = 3.0

POST_TIMEOUT_SECONDS = 5.0
"""Longer than for a GET: an issuer hashes and signs before it answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body, of whatever status but a redirect; `Retry-After` as it came.

    The body may hold a token, so its `repr` does not show it.
    """

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None


class FetchFailed(Exception):
    """No usable answer came: network, TLS, time, size, or a redirect. The message tells which."""


class TimedOut(FetchFailed):
    """No answer came in time."""


class AnswerRefused(FetchFailed):
    """An answer came that is not taken: a redirect, or one that is too long or cut short."""


class Fetch(Protocol):
    """GET `url`. Raises `FetchFailed`."""

    def __call__(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer: ...


class PostJson(Protocol):
    """POST `document`, which is JSON already, to `url`. Raises `FetchFailed`."""

    def __call__(self, url: str, *, document: bytes) -> Answer: ...


class Post(Protocol):
    """POST `form` to `url`, as `application/x-www-form-urlencoded`. Raises `FetchFailed`."""

    def __call__(
        self, url: str, *, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer: ...


def fetch(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Answer:
    """GET `url` in at most `timeout_seconds` and `MAX_ANSWER_BYTES`. Raises `FetchFailed`."""
    return _within(timeout_seconds, _Request("GET", url, headers or {}, timeout_seconds))


def post(
    url: str,
    *,
    form: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = POST_TIMEOUT_SECONDS,
) -> Answer:
    """POST `form` to `url` within the same limits. Raises `FetchFailed`."""
    headers = {**(headers or {}), "Content-Type": "application/x-www-form-urlencoded"}
    request = _Request("POST", url, headers, timeout_seconds, lambda: urlencode(form).encode())
    return _within(timeout_seconds, request)


def post_json(
    url: str, *, document: bytes, timeout_seconds: float = POST_TIMEOUT_SECONDS
) -> Answer:
    """POST `document`, which is JSON already, within the same limits. Raises `FetchFailed`."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = _Request("POST", url, headers, timeout_seconds, lambda: document)
    return _within(timeout_seconds, request)


def _within(timeout_seconds: float, request: "_Request") -> Answer:
    """The outcome of `request`, which runs in a thread of its own.

    A socket's time limit starts anew with every address that is tried and every byte that drips in,
    and name resolution has none. Only who waits outside can keep one.
    """
    Thread(target=request.run, daemon=True).start()
    try:
        outcome = request.outcome.get(timeout=timeout_seconds)
    except Empty:
        request.hang_up()
        outcome = TimedOut(f"not done within {timeout_seconds} s")
    if isinstance(outcome, FetchFailed):
        raise outcome
    return outcome


class _Request:
    """One request under way, and how it ended."""

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout_seconds: float,
        body: Callable[[], bytes] | None = None,
    ) -> None:
        self.outcome: SimpleQueue[Answer | FetchFailed] = SimpleQueue()
        self._method = method
        self._url = url
        self._headers = {**headers, "Connection": "close"}
        self._body = body
        self._timeout_seconds = timeout_seconds
        self._socket: socket | None = None
        self._given_up = False

    def run(self) -> None:
        try:
            self.outcome.put(self._answer())
        except FetchFailed as failure:
            self.outcome.put(failure)
        except TimeoutError:
            self.outcome.put(TimedOut(f"not done within {self._timeout_seconds} s"))
        except Exception as error:
            # The class alone, and of every error: messages may quote what was sent, and what a
            # thread does not catch is printed.
            self.outcome.put(FetchFailed(type(error).__name__))

    def hang_up(self) -> None:
        """Wake the thread from whatever it waits for; it ends with an error that nobody reads."""
        self._given_up = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)

    def _answer(self) -> Answer:
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        if parts.scheme == "http" and is_loopback(host) and not _is_runtime_api(parts):
            return self._exchange(
                HTTPConnection(host, parts.port, timeout=self._timeout_seconds), parts
            )
        if parts.scheme != "https":
            raise FetchFailed("only https is fetched, and http on loopback")
        for context in contexts(host):
            connection = HTTPSConnection(
                host, parts.port, timeout=self._timeout_seconds, context=context
            )
            with suppress(ssl.SSLCertVerificationError):
                return self._exchange(connection, parts)
        raise FetchFailed("the certificate is not trusted")

    def _exchange(self, connection: HTTPConnection, parts: SplitResult) -> Answer:
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        try:
            connection.connect()
            self._socket = connection.sock
            if self._given_up:
                # Nobody waits any more: what is sent now would be done, and told to no one.
                raise TimedOut("not connected in time")
            body = None if self._body is None else self._body()
            connection.request(self._method, target, body=body, headers=self._headers)
            with connection.getresponse() as response:
                if 300 <= response.status < 400:
                    raise AnswerRefused("redirected, and redirects are not followed")
                answered = response.read(MAX_ANSWER_BYTES + 1)
                if len(answered) > MAX_ANSWER_BYTES:
                    raise AnswerRefused(f"more than {MAX_ANSWER_BYTES} bytes came")
                if response.length:
                    raise AnswerRefused("the answer was cut short")
                return Answer(response.status, answered, response.getheader("Retry-After"))
        finally:
            connection.close()


def require_https(variable: str, url: str) -> None:
    """Raise `Misconfigured` unless `url` is https, or http to a loopback host."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - raises where the port is not a number
    except ValueError:
        raise Misconfigured(variable, f"{url!r} is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise Misconfigured(variable, "a URL carries no user name or password")
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and is_loopback(host):
        return
    raise Misconfigured(variable, f"{url!r} must be https (http only on loopback)")


def is_private(url: str) -> bool:
    """Whether a secret may be sent to `url`: `require_https` accepts it."""
    try:
        require_https("", url)
    except Misconfigured:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: `localhost`, 127.0.0.0/8 or ::1 (RFC 6761, 6.3)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_runtime_api(parts: SplitResult) -> bool:
    """Whether this is where Lambda takes a function's answers, on loopback like a local issuer.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """
    port = os.environ.get("AWS_LAMBDA_RUNTIME_API", "").rpartition(":")[2]
    return bool(port) and str(parts.port or 80) == port
