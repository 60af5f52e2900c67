"""The states of a run, and the changes between them."""

from typing import Literal

import msgspec

from serve_runs.audit.trail import Action

LIVE = ("pending", "running")
"""The states of a run that is not over. A run in one of them is in the indexes of live
runs."""


class Transition(msgspec.Struct, frozen=True):
    """A change of state: the states before it, and the state after.

    `action`: its name in the policies and in the audit trail. `actor`: the prefix of the columns of
    whoever made it.
    """

    name: Literal["start", "finish", "fail", "cancel"]
    action: Action
    before: tuple[str, ...]
    after: str
    actor: Literal["started", "finished", "cancelled"]


TRANSITIONS = {
    "start": Transition("start", "start_run", ("pending",), "running", "started"),
    "finish": Transition("finish", "finish_run", ("running",), "succeeded", "finished"),
    "fail": Transition("fail", "fail_run", ("pending", "running"), "failed", "finished"),
    "cancel": Transition("cancel", "cancel_run", ("pending", "running"), "cancelled", "cancelled"),
}
