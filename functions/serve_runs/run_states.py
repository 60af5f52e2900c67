"""The states of a run and the changes between them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state: where it may start, where it ends, and which column gets its actor."""

    name: Literal["start", "finish", "fail", "cancel"]
    before: tuple[str, ...]
    after: str
    actor_column: Literal["started_by", "finished_by", "cancelled_by"]


TRANSITIONS = {
    "start": Transition("start", ("pending",), "running", "started_by"),
    "finish": Transition("finish", ("running",), "succeeded", "finished_by"),
    "fail": Transition("fail", ("pending", "running"), "failed", "finished_by"),
    "cancel": Transition("cancel", ("pending", "running"), "cancelled", "cancelled_by"),
}
