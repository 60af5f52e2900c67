"""The calls that create, start and end the record of a run.

The calls are scripts without input and output: each is sent by a sync or an async client, and sent
again by a later process where the service could not be reached.
"""

import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from byline_client.addresses import project_path
from byline_client.conversation import ServiceCall
from byline_client.documents import text_of
from byline_client.errors import RequestRefused, ServiceUnavailable

Outcome = Literal["finish", "fail", "cancel"]
Script = Generator[ServiceCall, Any, Any]

MOST_EXIT_CODE = 255
STATUS_AFTER: Mapping[str, str] = {
    "start": "running",
    "finish": "succeeded",
    "fail": "failed",
    "cancel": "cancelled",
}
REASON_CHARACTERS = 1_000
"""The longest reason of an end that the service accepts."""
OVER = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class RunPlan:
    """A run to record. The service creates it once for a `key`, however often it is asked."""

    project: str
    body: Mapping[str, Any]
    key: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def path(self) -> str:
        """The path of the project's runs. Raises `Misused`."""
        return project_path(self.project, "runs")


@dataclass(frozen=True)
class RunEnd:
    """How a run ended. The service takes a reason and an exit code except for a cancellation."""

    change: Outcome
    reason: str = ""
    exit_code: int | None = None

    @property
    def body(self) -> dict[str, Any] | None:
        """The members for the service; None where there are none."""
        if self.change == "cancel":
            return None
        members: dict[str, Any] = {}
        if self.reason:
            members["reason"] = self.reason[:REASON_CHARACTERS]
        if self.exit_code is not None and 0 <= self.exit_code <= MOST_EXIT_CODE:
            members["exit_code"] = self.exit_code
        return members or None


def new_plan(
    project: str,
    *,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    agent: str = "",
    runner: str = "",
    parent_run: str = "",
    heartbeat_seconds: int = 0,
) -> RunPlan:
    """The plan of a run, without the members that are not given."""
    members: dict[str, Any] = {
        "name": name,
        "agent": agent,
        "runner": runner,
        "parent_run": parent_run,
        "heartbeat_seconds": heartbeat_seconds,
        "labels": dict(labels or {}),
    }
    return RunPlan(project, {key: value for key, value in members.items() if value})


def opening(plan: RunPlan) -> Script:
    """Create the run and start it. Returns its id."""
    created = yield ServiceCall("POST", plan.path, body=plan.body, idempotency_key=plan.key)
    run_id = text_of(created, "id")
    if not run_id:
        raise ServiceUnavailable("The service created a run and did not name its id.")
    yield from transition(plan, run_id, "start")
    return run_id


def transition(
    plan: RunPlan,
    run_id: str,
    change: "Outcome | Literal['start']",
    body: Mapping[str, Any] | None = None,
) -> Script:
    """Change the run's state. Returns the state that it has then. `body`: how it ended.

    A call that is sent again finds the change made. A run that somebody else ended stays as it is.
    """
    path = f"{plan.path}/{quote(run_id, safe='')}/{change}"
    call = ServiceCall("POST", path, body=body, repeat=True)
    try:
        yield call
    except RequestRefused as refused:
        current = refused.members.get("current_status")
        if refused.reason == "wrong_state" and (current == STATUS_AFTER[change] or current in OVER):
            return current
        raise
    return STATUS_AFTER[change]


def whole_record(plan: RunPlan, run_id: str, end: RunEnd) -> Script:
    """The calls that are missing up to the end, and the run's id. A run with an id was started."""
    if not run_id:
        run_id = yield from opening(plan)
    yield from transition(plan, run_id, end.change, end.body)
    return run_id


def perform(script: Script, ask: Callable[[ServiceCall], Any]) -> Any:
    """Send the calls of a script with `ask`, which returns the answer. Raises `ClientError`."""
    resume: Callable[[], ServiceCall] = partial(next, script)
    while True:
        try:
            call = resume()
        except StopIteration as end:
            return end.value
        try:
            resume = partial(script.send, ask(call))
        except RequestRefused as refused:
            resume = partial(script.throw, refused)


async def perform_async(script: Script, ask: Callable[[ServiceCall], Awaitable[Any]]) -> Any:
    """The same with an async `ask`."""
    resume: Callable[[], ServiceCall] = partial(next, script)
    while True:
        try:
            call = resume()
        except StopIteration as end:
            return end.value
        try:
            resume = partial(script.send, await ask(call))
        except RequestRefused as refused:
            resume = partial(script.throw, refused)
