"""The authorization service on loopback. It keeps a graph of resources and fails on demand.

    with serve_authorization() as authorization:
        authorization.faults.extend([Fails(503), Hangs("late")])
        ... AUTHORIZATION_SERVICE_URL=authorization.url ...

`Graph` is the service without HTTP, for tests that decide the order of all calls.
"""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from byline.fetch import Answer
from stand_ins.listener import HttpAnswer, HttpRequest, NoAnswer, serve

PATH = "/v1/authz/"
DONE = b'{"success": true}'

type Json = dict[str, Any]
type ResourceKey = tuple[str, str]
"""The type and the selector of a resource."""


@dataclass(frozen=True, slots=True)
class Fails:
    """Answers the call with this status and body. The call takes effect only if `is_done`.

    `retry_after`: the header `Retry-After`, if any.
    """

    status: int = 503
    body: bytes = b'{"error": "out of order"}'
    is_done: bool = False
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Hangs:
    """Does not answer. `takes_effect`: "at once", "late" (`Graph.apply_late_calls`) or "never".

    If `is_reset`, the connection ends at once with a reset.
    """

    takes_effect: str = "never"
    is_reset: bool = False


type Fault = Fails | Hangs


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """A call that reached the service: its operation, and its body as JSON."""

    operation: str
    document: Json

    @property
    def resource(self) -> ResourceKey:
        """The key of the call's resource."""
        return _resource_key(self.document["resource"])


@dataclass
class Graph:
    """The service's resources, each with its owner and its parent, and its grants."""

    owners: dict[ResourceKey, Json] = field(default_factory=dict)
    parents: dict[ResourceKey, ResourceKey | None] = field(default_factory=dict)
    grants: set[tuple[str, ResourceKey, str]] = field(default_factory=set)
    calls: list[ServiceCall] = field(default_factory=list)
    late: list[ServiceCall] = field(default_factory=list)
    """Calls without an answer that take effect later."""

    @property
    def tasks(self) -> set[str]:
        """The ids of the registered runs."""
        return {selector for kind, selector in self.owners if kind == "task"}

    def answer(self, call: ServiceCall, fault: Fault | None) -> Answer | None:
        """The answer to a call. None if the fault is `Hangs`."""
        self.calls.append(call)
        match fault:
            case None:
                self.apply(call)
                return Answer(200, DONE)
            case Fails(status, body, is_done, retry_after):
                if is_done:
                    self.apply(call)
                return Answer(status, body, retry_after)
            case Hangs(takes_effect):
                if takes_effect == "at once":
                    self.apply(call)
                elif takes_effect == "late":
                    self.late.append(call)
                return None

    def apply_late_calls(self, *, calls: int | None = None) -> None:
        """Apply the late calls in their order: all, or the first `calls`."""
        for call in self.late[:calls]:
            self.apply(call)
        del self.late[:calls]

    def apply(self, call: ServiceCall) -> None:
        """Apply a call to the graph. A repeated call changes nothing."""
        document = call.document
        match call.operation:
            case "register":
                parent = document["parent"]
                self.owners[call.resource] = document["principal"]
                self.parents[call.resource] = None if parent is None else _resource_key(parent)
            case "deregister":
                self.owners.pop(call.resource, None)
                self.parents.pop(call.resource, None)
                self.grants = {grant for grant in self.grants if grant[1] != call.resource}
            case "grant":
                self.grants.add(_grant(call))
            case "revoke":
                self.grants.discard(_grant(call))


class AuthorizationStandIn:
    """The graph behind HTTP. Each of `faults` applies to one call, in order.

    `silent_seconds`: how long a connection without an answer stays open.
    """

    def __init__(self) -> None:
        self.url = ""
        self.graph = Graph()
        self.faults: deque[Fault] = deque()
        self.ended = Event()
        self.silent_seconds = 30.0
        self.requests: list[HttpRequest] = []
        self._lock = Lock()

    def receive(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        """The answer to a request. An unknown operation is answered with 404."""
        with self._lock:
            self.requests.append(request)
            call = ServiceCall(request.path.removeprefix(PATH), json.loads(request.body))
            if f"{PATH}{call.operation}" != request.path or call.operation not in OPERATIONS:
                return HttpAnswer(404, {}, b"")
            fault = self.faults.popleft() if self.faults else None
            answer = self.graph.answer(call, fault)
        if answer is not None:
            headers = {"Content-Type": "application/json"}
            if answer.retry_after is not None:
                headers["Retry-After"] = answer.retry_after
            return HttpAnswer(answer.status, headers, answer.body)
        is_reset = isinstance(fault, Hangs) and fault.is_reset
        return NoAnswer(0 if is_reset else self.silent_seconds, is_reset=is_reset)


OPERATIONS = ("register", "deregister", "grant", "revoke")


@contextmanager
def serve_authorization() -> Iterator[AuthorizationStandIn]:
    """Run the service on a free port until the block ends."""
    stand_in = AuthorizationStandIn()
    with serve(stand_in.receive, ended=stand_in.ended) as url:
        stand_in.url = url
        yield stand_in


def _resource_key(resource: Json) -> ResourceKey:
    return resource["type"], resource["selector"]


def _grant(call: ServiceCall) -> tuple[str, ResourceKey, str]:
    principal = json.dumps(call.document["principal"], sort_keys=True)
    return principal, call.resource, call.document["operation"]
