"""An Application Load Balancer for one machine: a listener with rules for two functions.

    Authorization: Bearer …  →  (jwt-validation)   →  bearer target group   ─┐
    pages, other requests    →  authenticate-oidc  →  browser target group  ─┼─  RunsFunction
    /logout, metadata        →                        browser target group  ─┘
    /, /console/*            →  authenticate-oidc  →  console target group  ──  ServeConsoleFunction

Only what a function and its callers can see is imitated. Where AWS documents nothing, it does the
worst that it might: a client's own `x-amzn-oidc-*` headers pass through the Bearer rule.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from threading import Thread
from typing import Any, Protocol, Self

from local.bearer_rule import has_bearer
from local.browser_rule import CALLBACK
from local.console import ConsoleRule
from local.listening import url_of
from local.load_balancer_events import Reply, Request, Shape, plain
from local.load_balancer_forward import forward
from local.load_balancer_http import HttpServer

OPEN_PATHS = {"/logout": "logout", "/.well-known/oauth-protected-resource": "metadata"}
"""The paths that are forwarded without authentication, with their names in the access log."""

PATHS = ("/v1/*", "/healthz")
"""The paths of the other rules of `template.yaml`. The listener answers 404 to any other path."""


class ListenerRule(Protocol):
    """The action of a listener rule before `forward`."""

    def apply(self, request: Request) -> Request | Reply:
        """The request to forward, or the reply to send instead."""


type Invoke = Callable[[Any], Any]
type Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGroups:
    """The two target groups of RunsFunction: their ARNs without the id."""

    browser: str
    bearer: str

    @staticmethod
    def arn(group: str) -> str:
        """The ARN of a target group, with its id."""
        return f"{group}/1234567890abcdef"


class LoadBalancer:
    """Listens on `listener` from entering the block to leaving it, and calls `invoke`.

    `console`: the rule of the console, None where the stack has none.
    """

    console: ConsoleRule | None = None

    def __init__(
        self,
        listener: socket.socket,
        *,
        invoke: Invoke,
        target_groups: TargetGroups,
        browser_rule: ListenerRule,
        bearer_rule: ListenerRule,
        shape: Shape = "multi-value",
        log: Log = lambda _: None,
    ) -> None:
        self.url = url_of(listener)
        self._invoke = invoke
        self._target_groups = target_groups
        self._browser_rule = browser_rule
        self._bearer_rule = bearer_rule
        self._shape: Shape = shape
        self._log = log
        self._server = HttpServer(listener, answer=self.answer)

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Request) -> Reply:
        """The reply to a request."""
        started = time.perf_counter()
        if self.console is not None and self.console.matches(request):
            rule, reply = "console", self.console.answer(request)
        else:
            rule, reply = self._route(request)
        milliseconds = (time.perf_counter() - started) * 1000
        # Without the query, which has codes at the callback. Escaped, because terminals show it.
        path = ascii(request.path)[1:-1]
        self._log(f"{request.method} {path} {reply.status} {rule} {milliseconds:.0f} ms")
        return reply

    def _route(self, request: Request) -> tuple[str, Reply]:
        groups = self._target_groups
        if request.path == "/healthz":
            # The load balancer's health checker bypasses the rules.
            return "health", self._forward(request, groups.browser)
        if request.path == CALLBACK:
            return "sign-in", _reply(self._browser_rule.apply(request))
        if request.path in OPEN_PATHS:
            return OPEN_PATHS[request.path], self._forward(request, groups.browser)
        if not any(fnmatchcase(request.path, pattern) for pattern in PATHS):
            return "no rule", plain(HTTPStatus.NOT_FOUND)
        if has_bearer(request):
            return "bearer", self._forward(self._bearer_rule.apply(request), groups.bearer)
        return "browser", self._forward(self._browser_rule.apply(request), groups.browser)

    def _forward(self, outcome: Request | Reply, target_group: str) -> Reply:
        arn = TargetGroups.arn(target_group)
        return forward(outcome, invoke=self._invoke, arn=arn, shape=self._shape)


def _reply(outcome: Request | Reply) -> Reply:
    return outcome if isinstance(outcome, Reply) else plain(HTTPStatus.NOT_FOUND)
