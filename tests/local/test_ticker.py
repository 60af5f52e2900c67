"""The schedule of one machine."""

import time
from datetime import UTC, datetime
from threading import Event
from typing import Any

from local.lambda_runtime import FunctionFailed
from local.ticker import Ticker


class Ticks:
    """A function that keeps its events, and fails at the first if told so."""

    def __init__(self, *, enough: int, failure: FunctionFailed | None = None) -> None:
        self.events: list[Any] = []
        self.at: list[float] = []
        self.came = Event()
        self._enough = enough
        self._failure = failure

    def __call__(self, event: Any) -> Any:
        self.events.append(event)
        self.at.append(time.monotonic())
        if len(self.events) == self._enough:
            self.came.set()
        if self._failure is not None and len(self.events) == 1:
            raise self._failure


def test_first_tick_comes_at_once_and_the_next_after_its_time() -> None:
    """The first tick comes at once, so that overdue runners do not wait; then the rate holds."""
    ticks = Ticks(enough=3)
    started = time.monotonic()
    with Ticker("Tick", seconds=0.3, invoke=ticks, log=lambda _: None):
        assert ticks.came.wait(10)
    assert ticks.at[0] - started < 0.3
    assert ticks.at[1] - ticks.at[0] >= 0.3
    assert ticks.at[2] - ticks.at[1] >= 0.3


def test_tick_that_fails_is_told_and_the_next_comes() -> None:
    """No retry: the next tick does the work of the one that failed."""
    ticks, told = Ticks(enough=2, failure=FunctionFailed("Error", "no table")), list[str]()
    with Ticker("Tick", seconds=0.1, invoke=ticks, log=told.append):
        assert ticks.came.wait(10)
    assert told == ["Tick: Error: no table"]


def test_no_tick_comes_after_the_end() -> None:
    """Leaving the block ends it, whatever is left of the minute."""
    ticks = Ticks(enough=1)
    started = time.monotonic()
    with Ticker("Tick", seconds=60, invoke=ticks, log=lambda _: None) as ticker:
        assert ticks.came.wait(10)
    assert time.monotonic() - started < 5
    assert not ticker.is_running
    assert len(ticks.events) == 1


def test_tick_has_the_shape_of_the_scheduler() -> None:
    """The event that EventBridge Scheduler sends where a schedule has no input of its own."""
    ticks = Ticks(enough=1)
    with Ticker("Tick", seconds=60, invoke=ticks, log=lambda _: None):
        assert ticks.came.wait(10)
    [event] = ticks.events
    assert (event["source"], event["detail-type"]) == ("aws.scheduler", "Scheduled Event")
    assert event["resources"] == ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/Tick"]
    assert event["detail"] == "{}"


def test_tick_is_what_its_schedule_says_it_is() -> None:
    """Scheduled as long ago as the scheduler may be late, so that its work begins at once."""
    ticks = Ticks(enough=1)
    said = '{"at": "<aws.scheduler.scheduled-time>", "of": "ours"}'
    with Ticker("Tick", seconds=60, invoke=ticks, log=lambda _: None, payload=said):
        assert ticks.came.wait(10)
    [event] = ticks.events
    assert event["of"] == "ours"
    at = datetime.fromisoformat(event["at"])
    assert 59 <= (datetime.now(UTC) - at).total_seconds() < 75
