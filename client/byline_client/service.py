"""Calls of a Byline service over HTTP, sync and async."""

import time
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.to_thread
import httpx

from byline_client.conversation import NoAnswer, Send, ServiceCall, Steps, Wait, conversation
from byline_client.errors import Misused
from byline_client.secret_text import SecretText
from byline_client.tokens import Tokens
from byline_client.version import VERSION

DEADLINE_SECONDS = 20.0
ANSWER_SECONDS = 35.0
"""How long to wait for an answer. The service itself gives up after 30 seconds."""

CONNECT_SECONDS = 5.0


class Service:
    """The service at `url`, called with `tokens`. Close it, or use it as a context manager."""

    def __init__(
        self,
        url: str,
        tokens: Tokens,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.url = url
        self.tokens = tokens
        self._deadline = deadline_seconds
        self._http = httpx.Client(**_options(url, answer_seconds))

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, call: ServiceCall) -> Any:
        """The document that the service answers; None for 204. Raises `ClientError`."""
        steps = conversation(
            call, url=self.url, deadline_seconds=self._deadline, now=time.monotonic
        )
        step = next(steps)
        try:
            while True:
                if isinstance(step, Wait):
                    time.sleep(step.seconds)
                    step = steps.send(None)
                else:
                    step = steps.send(self._send(call, step))
        except StopIteration as end:
            return end.value

    def _send(self, call: ServiceCall, step: Send) -> httpx.Response | NoAnswer:
        token = self.tokens.token(renew=step.renew)
        try:
            return self._http.request(**_request(call, token))
        except UnicodeEncodeError:
            raise _no_text() from None
        except httpx.HTTPError as error:
            return _no_answer(error)


class AsyncService:
    """The same for programs with an event loop (asyncio or trio)."""

    def __init__(
        self,
        url: str,
        tokens: Tokens,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.url = url
        self.tokens = tokens
        self._deadline = deadline_seconds
        self._http = httpx.AsyncClient(**_options(url, answer_seconds))

    async def __aenter__(self) -> "AsyncService":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, call: ServiceCall) -> Any:
        """The document that the service answers; None for 204. Raises `ClientError`."""
        steps = conversation(
            call, url=self.url, deadline_seconds=self._deadline, now=time.monotonic
        )
        step = next(steps)
        try:
            while True:
                if isinstance(step, Wait):
                    await anyio.sleep(step.seconds)
                    step = steps.send(None)
                else:
                    step = steps.send(await self._send(call, step))
        except StopIteration as end:
            return end.value

    async def _send(self, call: ServiceCall, step: Send) -> httpx.Response | NoAnswer:
        # A source may read files or call its issuer, which must not hold up the event loop.
        token = await anyio.to_thread.run_sync(lambda: self.tokens.token(renew=step.renew))
        try:
            return await self._http.request(**_request(call, token))
        except UnicodeEncodeError:
            raise _no_text() from None
        except httpx.HTTPError as error:
            return _no_answer(error)


def _steps(call: ServiceCall, url: str, deadline: float) -> Steps:
    return conversation(call, url=url, deadline_seconds=deadline, now=time.monotonic)


def _options(url: str, answer_seconds: float) -> dict[str, Any]:
    return {
        "base_url": url,
        # A redirect would carry the request to a place that nobody named.
        "follow_redirects": False,
        "timeout": httpx.Timeout(answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds)),
        "headers": {"user-agent": f"byline-client/{VERSION}", "accept": "application/json"},
    }


def _request(call: ServiceCall, token: SecretText) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token.reveal()}"}
    if call.idempotency_key:
        headers["idempotency-key"] = call.idempotency_key
    query: Mapping[str, Any] = call.query or {}
    return {
        "method": call.method,
        "url": call.path,
        "headers": headers,
        "params": {name: value for name, value in query.items() if value is not None},
        **({} if call.body is None else {"json": dict(call.body)}),
    }


def _no_text() -> Misused:
    """The error of a text that cannot be sent, such as a byte of an argument that is not UTF-8."""
    return Misused("A text of the request is not Unicode text.")


def _no_answer(error: httpx.HTTPError) -> NoAnswer:
    """A failed request in our own words. The library's message may quote a header."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return NoAnswer("cannot be reached", sent=False)
    if isinstance(error, httpx.TimeoutException):
        return NoAnswer("did not answer in time", sent=True)
    return NoAnswer(f"ended the connection without an answer ({type(error).__name__})", sent=True)
