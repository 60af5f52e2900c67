"""One GET that cannot hurt: bounded in time and size, no redirects, none of the answer in errors.

urllib3, because botocore has it loaded already: another client would cost its import at every cold
start that meets a new key.
"""

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol
from urllib.parse import urlsplit

import urllib3

from byline.tls import aws_context, public_context

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


def fetch(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """GET `url` in at most `TIMEOUT_SECONDS` and `MAX_ANSWER_BYTES`. Raises `FetchFailed`."""
    host = urlsplit(url).hostname or ""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        with _pool(_is_aws(host)).request(
            "GET",
            url,
            headers=dict(headers or {}),
            timeout=urllib3.Timeout(total=TIMEOUT_SECONDS),
            retries=False,
            redirect=False,
            preload_content=False,
        ) as response:
            if 300 <= response.status < 400:
                raise FetchFailed("redirected, and redirects are not followed")
            body = bytearray()
            for chunk in response.stream(16_384, decode_content=False):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise FetchFailed(f"more than {MAX_ANSWER_BYTES} bytes came")
                if time.monotonic() > deadline:
                    raise FetchFailed(f"not done within {TIMEOUT_SECONDS} s")
            return Answer(status=response.status, body=bytes(body))
    except urllib3.exceptions.HTTPError as error:
        # The class alone: messages may quote what was sent.
        raise FetchFailed(type(error).__name__) from None


def close_connections() -> None:
    """Drop what is open: after a snapshot is restored every socket in it is dead."""
    _pool.cache_clear()


@cache
def _pool(of_aws: bool) -> urllib3.PoolManager:  # noqa: FBT001 - a cache key, never seen outside
    context: ssl.SSLContext = aws_context() if of_aws else public_context()
    return urllib3.PoolManager(num_pools=8, maxsize=2, ssl_context=context)


def _is_aws(host: str) -> bool:
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
