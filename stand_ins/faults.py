"""Trouble on the way to AWS and back: what can befall a call, and scripts of it."""

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
    """Nothing befalls the call."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Nothing is done, and the connection is reset, after some silence."""

    silent_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing is done, and nothing is said for longer than a client waits."""

    silent_seconds: float = 60


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """The work is done, and its answer never arrives: the connection ends, after some silence."""

    silent_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Delay:
    """The work is done so many seconds late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """`action` is done before the work: what another worker, or time, does in between."""

    action: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Afterwards:
    """`action` is done after the work, before its answer leaves."""

    action: Callable[[], object]


type Fault = Passed | Refusal | Reset | Hang | LoseAnswer | Delay | Meanwhile | Afterwards

PASSED = Passed()


@dataclass(slots=True)
class Call:
    """A request that arrived: when, for what, what befell it and what became of it.

    `outcome` is `done` or an error's code; empty where nothing was done, or not yet. `document`
    is what was sent, with its secrets: never shown.
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
    """What befalls which call. Thread-safe: each step happens to one call."""

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
        """The next calls of `operation` meet `steps`, one each, all later ones `afterwards`.

        Only calls that `concerns` says yes to count. Of several plans the first that holds
        trouble for a call decides, and the call is a step of each of them.
        """
        with self._lock:
            self._plans.append(_Plan(operation, deque(steps), afterwards, concerns))

    def clear(self) -> None:
        """No more trouble."""
        with self._lock:
            self._plans.clear()

    def fault_for(self, call: Call) -> Fault:
        """What befalls this call; a step of the script is used up."""
        with self._lock:
            faults = [
                plan.steps.popleft() if plan.steps else plan.afterwards
                for plan in self._plans
                if plan.operation in {ANY, call.operation} and plan.concerns(call)
            ]
        return next((fault for fault in faults if fault != PASSED), PASSED)
