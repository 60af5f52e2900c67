"""When the work of a tick begins, whatever the scheduler's precision."""

from typing import Any

import pytest

from byline.refresh.timing import TICK_SECONDS
from plan_refresh.planning import scheduled_time, work_begins

NOW = 1_800_000_000


@pytest.mark.parametrize("late", [0, 1, 30, 59, 60])
def test_work_begins_on_the_minute_wherever_in_it_the_tick_came(late: int) -> None:
    """Ticks of two minutes begin as far apart as they were scheduled."""
    assert work_begins(scheduled=NOW, now=NOW + late) == NOW + TICK_SECONDS


@pytest.mark.parametrize("late", [61, 90, 3_600])
def test_tick_that_is_too_late_begins_at_once(late: int) -> None:
    """Its minute is over."""
    assert work_begins(scheduled=NOW, now=NOW + late) == NOW + late


def test_tick_that_says_no_time_begins_at_once() -> None:
    """Somebody invoked it by hand, and is waiting."""
    assert work_begins(scheduled=None, now=NOW) == NOW


@pytest.mark.parametrize("early", [1, 60, 10**6])
def test_time_that_is_yet_to_come_holds_nothing_up(early: int) -> None:
    """Clocks differ; nothing that an event says makes a runner wait for over a minute."""
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
def test_time_is_read_where_the_event_says_one(event: dict[str, Any], at: int | None) -> None:
    """Anything else is a tick all the same."""
    assert scheduled_time(event) == at
