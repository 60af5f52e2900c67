"""The states of a run, and the changes between them."""

from typing import Literal

import msgspec

from serve_runs.audit.trail import Action

LIVE = ("pending", "running", "lost")
"""The states of a run that is not over. A run in one of them is in the indexes of live
runs. A lost run is one whose heartbeats stopped: only PlanRefreshFunction marks it."""


class Transition(msgspec.Struct, frozen=True):
    """A change of state: the states before it, and the state after.

    `action`: its name in the policies and in the audit trail. `actor`: the prefix of the columns of
    whoever made it; None for a change that the row does not name an actor of.
    """

    name: Literal["start", "finish", "fail", "cancel", "resume"]
    action: Action
    before: tuple[str, ...]
    after: str
    actor: Literal["started", "finished", "cancelled"] | None


TRANSITIONS = {
    "start": Transition("start", "start_run", ("pending",), "running", "started"),
    "finish": Transition("finish", "finish_run", ("running", "lost"), "succeeded", "finished"),
    "fail": Transition("fail", "fail_run", LIVE, "failed", "finished"),
    "cancel": Transition("cancel", "cancel_run", LIVE, "cancelled", "cancelled"),
    "resume": Transition("resume", "resume_run", ("lost",), "running", None),
}
