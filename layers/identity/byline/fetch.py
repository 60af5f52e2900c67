"""One GET that cannot hurt: bounded in time and size, no redirects, none of the answer in errors.

`http.client`, because botocore has it loaded already (another client would cost its import at every
cold start that meets a new key), and because it does nothing of its own accord: no redirects,
retries, proxies, cookies or decompression.
"""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from queue import Empty, SimpleQueue
from socket import SHUT_RDWR, socket
from threading import Thread
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from byline.settings import is_loopback
from byline.tls import contexts

MAX_ANSWER_BYTES = 262_144
"""The largest answer expected is a key set: a few hundred bytes to a few KB a key."""

TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body, of whatever status but a redirect."""

    status: int
    body: bytes


class FetchFailed(Exception):
    """No usable answer came: network, TLS, time, size, or a redirect. The message tells which."""


class Fetch(Protocol):
    """GET `url`. Raises `FetchFailed`."""

    def __call__(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer: ...


def fetch(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Answer:
    """GET `url` in at most `timeout_seconds` and `MAX_ANSWER_BYTES`. Raises `FetchFailed`.

    In a thread of its own: a socket's time limit starts anew with every address that is tried and
    every byte that drips in, and name resolution has none. Only who waits outside can keep one.
    """
    get = _Get(url, headers or {}, timeout_seconds)
    Thread(target=get.run, daemon=True).start()
    try:
        outcome = get.outcome.get(timeout=timeout_seconds)
    except Empty:
        get.hang_up()
        outcome = FetchFailed(f"not done within {timeout_seconds} s")
    if isinstance(outcome, FetchFailed):
        raise outcome
    return outcome


class _Get:
    """One GET under way, and how it ended."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> None:
        self.outcome: SimpleQueue[Answer | FetchFailed] = SimpleQueue()
        self._url = url
        self._headers = {**headers, "Connection": "close"}
        self._timeout_seconds = timeout_seconds
        self._socket: socket | None = None

    def run(self) -> None:
        try:
            self.outcome.put(self._answer())
        except FetchFailed as failure:
            self.outcome.put(failure)
        except Exception as error:
            # The class alone, and of every error: messages may quote what was sent, and what a
            # thread does not catch is printed.
            self.outcome.put(FetchFailed(type(error).__name__))

    def hang_up(self) -> None:
        """Wake the thread from whatever it waits for; it ends with an error that nobody reads."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)

    def _answer(self) -> Answer:
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        if parts.scheme == "http" and is_loopback(host):
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
            connection.request("GET", target, headers=self._headers)
            with connection.getresponse() as response:
                if 300 <= response.status < 400:
                    raise FetchFailed("redirected, and redirects are not followed")
                body = response.read(MAX_ANSWER_BYTES + 1)
                if len(body) > MAX_ANSWER_BYTES:
                    raise FetchFailed(f"more than {MAX_ANSWER_BYTES} bytes came")
                if response.length:
                    raise FetchFailed("the answer was cut short")
                return Answer(status=response.status, body=body)
        finally:
            connection.close()
