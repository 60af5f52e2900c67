"""The table of routes: method, path, and the function that answers. It knows no subject.

A path is written as Powertools' resolver takes it: `/v1/projects/<project>/runs/<run_id>`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from aws_lambda_powertools.event_handler import Response

Method = Literal["GET", "PUT", "POST", "DELETE"]

_NAME = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `answer` takes the call, then the names in the path but for `project`.

    `is_public`: the route needs no caller and tells nothing.
    """

    method: Method
    path: str
    answer: Callable[..., Response[str]]
    is_public: bool = False

    @property
    def name(self) -> str:
        """The name of the function that answers: the operation in docs/openapi.json."""
        return self.answer.__name__

    def matches(self, path: str) -> bool:
        """Whether `path`, as the load balancer forwards it, is one of the route's."""
        return re.fullmatch(_NAME.sub("[^/]+", self.path), path) is not None


@dataclass(frozen=True, slots=True)
class RouteGroup:
    """Routes that are loaded with the first request for one: a cold start goes without them.

    `part`: text that every path of the group contains.
    """

    part: str
    load: Callable[[], Sequence[Route]]


class RouteTable:
    """The routes loaded so far. `add` is told of every route when it is loaded."""

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
        """Load what is pending, and return all routes."""
        for group in list(self.pending):
            self.load(group)
        return tuple(self._loaded)

    def methods_of(self, path: str) -> list[str]:
        """The methods that a path of the loaded routes has, sorted; none for an unknown path."""
        return sorted({route.method for route in self._loaded if route.matches(path)})

    def _extend(self, routes: Sequence[Route]) -> None:
        for route in routes:
            self._loaded.append(route)
            self._add(route)
