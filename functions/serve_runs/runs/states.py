"""The states of a run, and the changes between them."""

from typing import Literal

import msgspec

from serve_runs.audit.trail import Action

LIVE = ("pending", "running")
"""The states of a run that is not over. A run in one of them is in the index `by-live`."""


class Transition(msgspec.Struct, frozen=True):
    """A change of state: the states before it, the state after, and the column of its actor.

    `action`: its name in the policies and in the audit trail.
    """

    name: Literal["start", "finish", "fail", "cancel"]
    action: Action
    before: tuple[str, ...]
    after: str
    actor_column: Literal["started_by", "finished_by", "cancelled_by"]


TRANSITIONS = {
    "start": Transition("start", "start_run", ("pending",), "running", "started_by"),
    "finish": Transition("finish", "finish_run", ("running",), "succeeded", "finished_by"),
    "fail": Transition("fail", "fail_run", ("pending", "running"), "failed", "finished_by"),
    "cancel": Transition(
        "cancel", "cancel_run", ("pending", "running"), "cancelled", "cancelled_by"
    ),
}
