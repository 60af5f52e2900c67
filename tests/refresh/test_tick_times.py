"""When a tick's messages are delivered, whatever the scheduler's precision."""

from typing import Any

import pytest

from byline.refresh.timing import TICK_SECONDS
from plan_refresh.planning import scheduled_time, work_begins

NOW = 1_800_000_000


@pytest.mark.parametrize("late", [0, 1, 30, 59, 60])
def test_work_begins_a_minute_after_the_scheduled_time(late: int) -> None:
    """Wherever in its minute the tick ran."""
    assert work_begins(scheduled=NOW, now=NOW + late) == NOW + TICK_SECONDS


@pytest.mark.parametrize("late", [61, 90, 3_600])
def test_late_tick_begins_at_once(late: int) -> None:
    """Its minute is over."""
    assert work_begins(scheduled=NOW, now=NOW + late) == NOW + late


def test_tick_without_a_time_begins_at_once() -> None:
    """It was started by hand."""
    assert work_begins(scheduled=None, now=NOW) == NOW


@pytest.mark.parametrize("early", [1, 60, 10**6])
def test_scheduled_time_in_the_future_delays_by_a_minute_at_most(early: int) -> None:
    """Clocks differ, and an event must not delay runners."""
    assert work_begins(scheduled=NOW + early, now=NOW) == NOW + TICK_SECONDS


@pytest.mark.parametrize(
    ("event", "at"),
    [
        ({"scheduled_at": "2027-01-15T08:00:00Z"}, NOW),
        ({"scheduled_at": "2027-01-15T09:00:00+01:00"}, NOW),
        ({"scheduled_at": "2027-01-15T08:00:00"}, None),
        ({"scheduled_at": "<aws.scheduler.scheduled-time>"}, None),
        ({"scheduled_at": 7}, None),
        ({"scheduled_at": None}, None),
        ({}, None),
    ],
)
def test_scheduled_time_is_read_with_a_time_zone_only(
    event: dict[str, Any], at: int | None
) -> None:
    """Any other event is a tick without a time."""
    assert scheduled_time(event) == at
