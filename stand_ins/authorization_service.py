"""The authorization service on loopback: keeps a graph of resources, and fails as a test demands.

    with serve_authorization() as authorization:
        authorization.faults.extend([Fails(503), Hangs("late")])
        ... AUTHORIZATION_SERVICE_URL=authorization.url ...

`Graph` is the service without its network, for tests that decide the order of all calls.
"""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from stand_ins.listener import HttpAnswer, HttpRequest, NoAnswer, serve

PATH = "/v1/authz/"
DONE = b'{"success": true}'

type Json = dict[str, Any]
type Thing = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fails:
    """Answers the call with this status and body. It takes effect only with `is_done`."""

    status: int = 503
    body: bytes = b'{"error": "out of order"}'
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Hangs:
    """Does not answer. The call takes effect at once, "late" (by `Graph.catch_up`), or never."""

    carried_out: str = "never"
    is_reset: bool = False


type Fault = Fails | Hangs


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """A call that reached the service."""

    operation: str
    document: Json

    @property
    def thing(self) -> Thing:
        """The type and the selector of the call's resource."""
        return _thing(self.document["resource"])


@dataclass
class Graph:
    """The service's resources, each with its owner and its parent, and its grants."""

    owners: dict[Thing, Json] = field(default_factory=dict)
    parents: dict[Thing, Thing | None] = field(default_factory=dict)
    grants: set[tuple[str, Thing, str]] = field(default_factory=set)
    calls: list[ServiceCall] = field(default_factory=list)
    late: list[ServiceCall] = field(default_factory=list)
    """Calls that were not answered and have not taken effect yet."""

    @property
    def tasks(self) -> set[str]:
        """The ids of the registered runs."""
        return {selector for kind, selector in self.owners if kind == "task"}

    def meet(self, call: ServiceCall, fault: Fault | None) -> tuple[int, bytes] | None:
        """The status and body for a call; None for no answer."""
        self.calls.append(call)
        match fault:
            case None:
                self.carry_out(call)
                return 200, DONE
            case Fails(status, body, is_done):
                if is_done:
                    self.carry_out(call)
                return status, body
            case Hangs(carried_out):
                if carried_out == "at once":
                    self.carry_out(call)
                elif carried_out == "late":
                    self.late.append(call)
                return None

    def catch_up(self, *, calls: int | None = None) -> None:
        """Carry out the late calls in their order: all, or the first `calls`."""
        for call in self.late[:calls]:
            self.carry_out(call)
        del self.late[:calls]

    def carry_out(self, call: ServiceCall) -> None:
        """Apply a call to the graph. A repeated call changes nothing."""
        document = call.document
        match call.operation:
            case "register":
                parent = document["parent"]
                self.owners[call.thing] = document["principal"]
                self.parents[call.thing] = None if parent is None else _thing(parent)
            case "deregister":
                self.owners.pop(call.thing, None)
                self.parents.pop(call.thing, None)
            case "grant":
                self.grants.add(_grant(call))
            case "revoke":
                self.grants.discard(_grant(call))


class AuthorizationStandIn:
    """The graph behind HTTP. Each of `faults` applies to one call, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.graph = Graph()
        self.faults: deque[Fault] = deque()
        self.over = Event()
        self.silent_seconds = 30.0
        self.requests: list[HttpRequest] = []
        self._lock = Lock()

    def receive(self, request: HttpRequest) -> HttpAnswer | NoAnswer:
        """The answer to a request."""
        with self._lock:
            self.requests.append(request)
            call = ServiceCall(request.path.removeprefix(PATH), json.loads(request.body))
            if f"{PATH}{call.operation}" != request.path or call.operation not in OPERATIONS:
                return HttpAnswer(404, {}, b"")
            fault = self.faults.popleft() if self.faults else None
            answer = self.graph.meet(call, fault)
        if answer is not None:
            status, body = answer
            return HttpAnswer(status, {"Content-Type": "application/json"}, body)
        is_reset = isinstance(fault, Hangs) and fault.is_reset
        return NoAnswer(0 if is_reset else self.silent_seconds, is_reset=is_reset)


OPERATIONS = ("register", "deregister", "grant", "revoke")


@contextmanager
def serve_authorization() -> Iterator[AuthorizationStandIn]:
    """Runs the service on a free port until the block ends."""
    stand_in = AuthorizationStandIn()
    with serve(stand_in.receive, over=stand_in.over) as url:
        stand_in.url = url
        yield stand_in


def _thing(resource: Json) -> Thing:
    return resource["type"], resource["selector"]


def _grant(call: ServiceCall) -> tuple[str, Thing, str]:
    who = json.dumps(call.document["principal"], sort_keys=True)
    return who, call.thing, call.document["operation"]
