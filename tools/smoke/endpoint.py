"""Requests to the stack's own address, as its clients send them."""

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from tools.smoke.verdicts import Failed, NotChecked

TIMEOUT_SECONDS = 45
"""Longer than RunsFunction's own time limit."""

_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")


class Endpoint:
    """The address of the stack, and the caller's Bearer token; empty where none was given.

    Raises `ValueError` for an address that would send the token in clear.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith("https://") and not _LOOPBACK.fullmatch(self.url):
            raise ValueError("BYLINE_URL must begin with https://. http:// is for loopback only.")
        self._token = token

    def token(self) -> str:
        """The caller's token. Raises `NotChecked` where it was not given."""
        if not self._token:
            raise NotChecked("BYLINE_TOKEN is not set")
        return self._token

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        token: str = "",
    ) -> httpx.Response:
        """The answer. `token`: sent as Bearer token; by default the request has no credential.

        No redirect is followed. Raises httpx's errors where none came.
        """
        sent = {"accept": "application/json", **(headers or {})}
        if token:
            sent["authorization"] = f"Bearer {token}"
        if body is not None:
            sent["content-type"] = "application/json"
        content = None if body is None else json.dumps(body)
        return httpx.request(
            method, f"{self.url}{path}", headers=sent, content=content, timeout=TIMEOUT_SECONDS
        )

    def call(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> httpx.Response:
        """The answer to the caller of BYLINE_TOKEN. Raises `NotChecked` without a token."""
        return self.send(method, path, headers=headers, body=body, token=self.token())

    def whoami(self) -> dict[str, Any]:
        """The caller of BYLINE_TOKEN. Raises `Failed` where the stack refuses the token."""
        answer = self.call("GET", "/v1/whoami")
        expect(answer, 200, "GET /v1/whoami with BYLINE_TOKEN")
        document: dict[str, Any] = answer.json()
        return document


def expect(answer: httpx.Response, status: int, request: str) -> None:
    """Raise `Failed` unless the answer has this status. `request`: in words."""
    if answer.status_code != status:
        raise Failed(f"{status} for {request}", seen(answer))


def seen(answer: httpx.Response) -> str:
    """The status of an answer, with the reason of Byline's problem document."""
    try:
        reason = answer.json()["reason"]
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
    return f"{answer.status_code} {reason}"
