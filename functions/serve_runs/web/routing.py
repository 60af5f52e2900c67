"""Routes, and the table of those that are loaded.

A path has the syntax of Powertools' resolver: `/v1/projects/<project>/runs/<run_id>`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from aws_lambda_powertools.event_handler import Response

Method = Literal["GET", "PUT", "POST", "DELETE"]

_NAME = re.compile(r"<(\w+)>")


class Route(msgspec.Struct, frozen=True):
    """A method and a path. `answer` takes the call, and the names in the path except `project`.

    `is_public`: the route needs no caller. Its `answer` takes no arguments.
    `writes`: whether a GET writes a record or ends a session, as every other method may.
    `hands_out`: the resource whose token is read, the name of its place in the path.
    `takes_body`: whether `answer` reads the body. Other routes refuse one with members.
    """

    method: Method
    path: str
    answer: Callable[..., Response[str]]
    is_public: bool = False
    writes: bool = False
    hands_out: Literal["credential", "runner"] | None = None
    takes_body: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether the route only reads (RFC 9110, section 9.2.1). Such a route answers HEAD too."""
        return self.method == "GET" and not self.writes

    @property
    def name(self) -> str:
        """The name of the function `answer`, which gives the operation id in docs/openapi.json."""
        return self.answer.__name__

    def matches(self, path: str) -> bool:
        """Whether `path`, as the load balancer forwards it, matches the route."""
        return re.fullmatch(_NAME.sub(r"[^/\\n]+", self.path), path) is not None


class RouteGroup(msgspec.Struct, frozen=True):
    """Routes that are loaded at the first request for one of them, to shorten cold starts.

    `part`: text that every path of the group contains. `most_slashes`: how many slashes such a path
    has at most, where longer paths with `part` belong to other groups.
    """

    part: str
    load: Callable[[], Sequence[Route]]
    most_slashes: int = 1_000


class RouteTable:
    """The routes loaded so far. `add` is called with each route when it is loaded."""

    def __init__(
        self,
        routes: Sequence[Route],
        groups: Sequence[RouteGroup],
        *,
        add: Callable[[Route], None],
    ) -> None:
        self.pending = list(groups)
        self._loaded: list[Route] = []
        self._add = add
        self._extend(routes)

    def load(self, group: RouteGroup) -> None:
        """Load a pending group."""
        self.pending.remove(group)
        self._extend(group.load())

    def load_all(self) -> Sequence[Route]:
        """Load the pending groups, and return all routes."""
        for group in list(self.pending):
            self.load(group)
        return tuple(self._loaded)

    def methods_of(self, path: str) -> list[str]:
        """The sorted methods of the loaded routes that match `path`; empty for an unknown path."""
        routes = [route for route in self._loaded if route.matches(path)]
        methods = {str(route.method) for route in routes}
        return sorted(methods | {"HEAD" for route in routes if route.is_safe})

    def _extend(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self._loaded.append(route)
            self._add(route)
