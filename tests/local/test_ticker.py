"""The local schedule."""

import time
from datetime import UTC, datetime
from threading import Event
from typing import Any

from local.lambda_runtime import FunctionFailed
from local.ticker import Ticker


class Ticks:
    """A function that records its events, and fails at the first one with `failure`."""

    def __init__(self, *, expected: int, failure: FunctionFailed | None = None) -> None:
        self.events: list[Any] = []
        self.at: list[float] = []
        self.came = Event()
        self._expected = expected
        self._failure = failure

    def __call__(self, event: Any) -> Any:
        self.events.append(event)
        self.at.append(time.monotonic())
        if len(self.events) == self._expected:
            self.came.set()
        if self._failure is not None and len(self.events) == 1:
            raise self._failure


def test_first_tick_is_immediate_and_the_next_after_the_interval() -> None:
    """The first tick is immediate, so overdue runners do not wait. The others keep the rate."""
    ticks = Ticks(expected=3)
    started = time.monotonic()
    with Ticker("Tick", seconds=0.3, invoke=ticks, log=lambda _: None):
        assert ticks.came.wait(10)
    assert ticks.at[0] - started < 0.3
    assert ticks.at[1] - ticks.at[0] >= 0.3
    assert ticks.at[2] - ticks.at[1] >= 0.3


def test_failed_tick_is_logged_and_not_retried() -> None:
    """A failed tick is logged, and the next tick comes at its time."""
    ticks, log = Ticks(expected=2, failure=FunctionFailed("Error", "no table")), list[str]()
    with Ticker("Tick", seconds=0.1, invoke=ticks, log=log.append):
        assert ticks.came.wait(10)
    assert log == ["Tick: Error: no table"]


def test_stopped_ticker_sends_no_tick() -> None:
    """A ticker stops without waiting for its next tick."""
    ticks = Ticks(expected=1)
    started = time.monotonic()
    with Ticker("Tick", seconds=60, invoke=ticks, log=lambda _: None) as ticker:
        assert ticks.came.wait(10)
    assert time.monotonic() - started < 5
    assert not ticker.is_running
    assert len(ticks.events) == 1


def test_tick_without_an_input_has_the_shape_of_the_scheduler() -> None:
    """Without an input, the event is the one that EventBridge Scheduler sends by default."""
    ticks = Ticks(expected=1)
    with Ticker("Tick", seconds=60, invoke=ticks, log=lambda _: None):
        assert ticks.came.wait(10)
    [event] = ticks.events
    assert (event["source"], event["detail-type"]) == ("aws.scheduler", "Scheduled Event")
    assert event["resources"] == ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/Tick"]
    assert event["detail"] == "{}"


def test_tick_with_an_input_has_its_scheduled_time() -> None:
    """The scheduled time is a minute ago, the most that the scheduler may be late."""
    ticks = Ticks(expected=1)
    payload = '{"at": "<aws.scheduler.scheduled-time>", "of": "ours"}'
    with Ticker("Tick", seconds=60, invoke=ticks, log=lambda _: None, payload=payload):
        assert ticks.came.wait(10)
    [event] = ticks.events
    assert event["of"] == "ours"
    at = datetime.fromisoformat(event["at"])
    assert 59 <= (datetime.now(UTC) - at).total_seconds() < 75
