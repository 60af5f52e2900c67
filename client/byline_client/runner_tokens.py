"""The tokens of runners, as the service keeps them fresh: read once, watched, or used by httpx."""

import time
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, Literal

import anyio.to_thread
import httpx

from byline_client.addresses import project_path
from byline_client.conversation import ServiceCall
from byline_client.credentials.order import choose
from byline_client.documents import text_of
from byline_client.errors import Misused, ServiceUnavailable
from byline_client.secret_text import SecretText, checked_token
from byline_client.service import AsyncService, Service
from byline_client.settings import read_settings

TokenSource = Literal["api", "secrets-manager"]
"""Where the tokens of runners are read."""

EARLY_SECONDS = 30.0
"""How long before its end a token is not used any more."""

LONGEST_PAUSE_SECONDS = 300.0
SHORTEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class RunnerToken:
    """The newest token of a runner. `expires_at`: Unix seconds."""

    token: SecretText
    expires_at: float

    def is_usable(self, now: float) -> bool:
        """Whether a request with the token arrives before its end."""
        return now < self.expires_at - EARLY_SECONDS

    def pause(self, now: float) -> float:
        """The seconds until the token should be read again.

        Byline replaces a token 330 seconds before its end, or at half of a short life. Half of what
        is left finds the next token long before the end, also after some failed attempts.
        """
        half = (self.expires_at - now) / 2
        return min(max(half, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)


def read_call(project: str, runner: str) -> ServiceCall:
    """The call that reads the token of a runner. Raises `Misused`."""
    return ServiceCall("GET", project_path(project, "runners", runner, "token"))


def runner_token(document: Any) -> RunnerToken:
    """The token in an answer. Raises `ServiceUnavailable` for an answer of another shape."""
    try:
        # Python 3.10 does not read the letter Z.
        end = datetime.fromisoformat(text_of(document, "expires_at").replace("Z", "+00:00"))
        token = checked_token(text_of(document, "token"), source="the service's answer")
    except (ValueError, Misused):
        raise ServiceUnavailable("The service's answer has no token.") from None
    return RunnerToken(token, end.timestamp())


class RunnerAuth(httpx.Auth):
    """Authenticates the requests of an httpx client with the current token of a runner.

        httpx.Client(base_url="https://warehouse.example", auth=RunnerAuth("trainer", project="p"))

    The token is read when it is needed, kept until shortly before its end, and read again once
    after a 401. Use it for clients of one API: each request of the client gets the token.
    `source="secrets-manager"` reads the runner's secrets with the credentials of AWS.
    """

    def __init__(
        self,
        runner: str,
        *,
        project: str,
        url: str = "",
        profile: str = "",
        source: TokenSource = "api",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = read_settings(environ, url=url, profile=profile)
        self._call = read_call(project, runner)
        self._secrets = None
        if source == "secrets-manager":
            from byline_client.runner_secrets import RunnerSecrets  # noqa: PLC0415 - an extra

            self._secrets = RunnerSecrets(self._ask, project, runner)
        self._name = f"RunnerAuth({runner!r}, project={project!r})"
        self._current: RunnerToken | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return self._name

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token, and send the request again with a new token after a 401."""
        response = yield self._with(request, self._token(refused=None))
        if response.status_code == 401:
            yield self._with(request, self._token(refused=self._current))

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """The same in an event loop."""
        response = yield self._with(request, await self._token_async(refused=None))
        if response.status_code == 401:
            yield self._with(request, await self._token_async(refused=self._current))

    @staticmethod
    def _with(request: httpx.Request, token: SecretText) -> httpx.Request:
        request.headers["authorization"] = f"Bearer {token.reveal()}"
        return request

    def _usable(self, refused: RunnerToken | None) -> SecretText | None:
        current = self._current
        is_usable = current is not None and current is not refused
        return current.token if current and is_usable and current.is_usable(time.time()) else None

    def _token(self, *, refused: RunnerToken | None) -> SecretText:
        with self._lock:
            if token := self._usable(refused):
                return token
            self._current = self._read()
            return self._current.token

    def _read(self) -> RunnerToken:
        if self._secrets is not None:
            return self._secrets.read()
        return runner_token(self._ask(self._call))

    def _ask(self, call: ServiceCall) -> Any:
        with Service(self._settings.url, choose(self._settings)[1]) as service:
            return service.ask(call)

    async def _token_async(self, *, refused: RunnerToken | None) -> SecretText:
        if token := self._usable(refused):
            return token
        if self._secrets is not None:
            # boto3 has no client for event loops.
            self._current = await anyio.to_thread.run_sync(self._secrets.read)
            return self._current.token
        async with AsyncService(self._settings.url, choose(self._settings)[1]) as service:
            self._current = runner_token(await service.ask(self._call))
        return self._current.token
