"""Faults of calls to AWS, and scripts that say which call meets which fault."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from stand_ins.refusal import Refusal

ANY = "*"
"""Every operation of every service."""


@dataclass(frozen=True, slots=True)
class Passed:
    """No fault: the call is handled as usual."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The call is not handled. The connection is reset after `silent_seconds`."""

    silent_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Hang:
    """The call is not handled, and has no answer for longer than a client waits."""

    silent_seconds: float = 60


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """The call is handled, and its answer is lost: the connection ends after `silent_seconds`."""

    silent_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Delay:
    """The call is handled `seconds` late, and then answered."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """`action` runs before the call is handled, such as a step of another worker."""

    action: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Afterwards:
    """`action` runs after the call is handled, before its answer is sent."""

    action: Callable[[], object]


type Fault = Passed | Refusal | Reset | Hang | LoseAnswer | Delay | Meanwhile | Afterwards

PASSED = Passed()


@dataclass(slots=True)
class Call:
    """A call that arrived: its time in seconds since the epoch, its fault and its outcome.

    `outcome` is `done` or the code of an error, and empty while the call is not handled.
    `document` is the request's body. It may hold secrets, so `repr` leaves it out.
    """

    at: float
    service: str
    operation: str
    document: dict[str, Any] = field(repr=False)
    fault: Fault = PASSED
    outcome: str = ""


@dataclass(slots=True)
class _Plan:
    operation: str
    steps: deque[Fault]
    afterwards: Fault
    concerns: Callable[[Call], bool]


class Script:
    """Says which call meets which fault. Thread-safe: each step applies to one call."""

    def __init__(self) -> None:
        self._plans: list[_Plan] = []
        self._lock = Lock()

    def follow(
        self,
        operation: str,
        *steps: Fault,
        afterwards: Fault = PASSED,
        concerns: Callable[[Call], bool] = lambda _: True,
    ) -> None:
        """Apply `steps` to the next calls of `operation`, one each, and `afterwards` to all later.

        A call counts only if `concerns` returns true for it. With several plans, a call uses up a
        step of each plan that it belongs to, and meets the first fault among these steps.
        """
        with self._lock:
            self._plans.append(_Plan(operation, deque(steps), afterwards, concerns))

    @property
    def are_planned(self) -> bool:
        """Whether any plan exists: a later call may meet a fault."""
        return bool(self._plans)

    def clear(self) -> None:
        """Remove all plans: no later call meets a fault."""
        with self._lock:
            self._plans.clear()

    def fault_for(self, call: Call) -> Fault:
        """The fault that this call meets. Uses up one step of each plan that it belongs to."""
        with self._lock:
            faults = [
                plan.steps.popleft() if plan.steps else plan.afterwards
                for plan in self._plans
                if plan.operation in {ANY, call.operation} and plan.concerns(call)
            ]
        return next((fault for fault in faults if fault != PASSED), PASSED)
