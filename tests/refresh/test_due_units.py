"""What the planner makes of the rows: whose turn it is, and how all tokens are doing."""

from typing import Any

import pytest

from byline.runner_rows import RunnerRow
from due_units import READERS_SECONDS, due_units, health

NOW = 1_800_000_000


def runner(name: str = "trainer", *, life: int | None = 500, **changes: Any) -> RunnerRow:
    """A runner that fell due just now, with a token of 900 seconds that has `life` left."""
    expires_at = None if life is None else NOW + life
    values: dict[str, Any] = {
        "project": "payments",
        "client": "scheduler",
        "revision": "request-1",
        "generation": 1,
        "deadline": NOW if expires_at is None else expires_at,
        "created_at": "2027-01-15T08:00:00.000Z",
        "updated_at": "2027-01-15T08:00:00.000Z",
        "shard": "07",
        "due_at": NOW,
        "lifetime": None if life is None else 900,
        "expires_at": expires_at,
        **changes,
    }
    return RunnerRow(runner=name, **values)


def test_unit_whose_token_dies_first_is_first() -> None:
    """B6: by the earliest deadline of each unit, whatever order the rows come in."""
    late = runner("a", project="late", life=400)
    urgent = [runner("b", project="urgent", life=390), runner("c", project="urgent", life=20)]
    units = due_units([late, *urgent])
    assert [due.unit.project for due in units] == ["urgent", "late"]
    assert [(due.deadline, due.runners) for due in units] == [(NOW + 20, 2), (NOW + 400, 1)]


@pytest.mark.parametrize(("age", "oldest"), [(0, 0), (75, 75), (-20, 0)])
def test_age_counts_from_when_a_runner_fell_due(age: int, oldest: int) -> None:
    """The oldest of those that are due; what is due next is not late yet."""
    rows = [runner("a", due_at=NOW - age), runner("b", due_at=NOW + 5)]
    assert health(rows, now=NOW).oldest_due_age == oldest


@pytest.mark.parametrize(
    ("lifetime", "least_life"),
    [(900, READERS_SECONDS), (660, READERS_SECONDS), (330, READERS_SECONDS // 2)],
)
def test_token_is_within_its_margin_once_readers_lack_their_part(
    lifetime: int, least_life: int
) -> None:
    """What is spent between falling due and being replaced is no trouble; what readers need is."""
    enough = runner(life=least_life, lifetime=lifetime)
    assert health([enough], now=NOW).within_margin == 0
    too_little = runner(life=least_life - 1, lifetime=lifetime)
    assert health([too_little], now=NOW).within_margin == 1


@pytest.mark.parametrize(("life", "expired"), [(1, 0), (0, 1), (-500, 1)])
def test_token_is_expired_from_its_last_second_on(life: int, expired: int) -> None:
    """And is not counted within its margin beside that."""
    state = health([runner(life=life)], now=NOW)
    assert (state.expired, state.within_margin) == (expired, 1 - expired)
    assert state.least_life == life


def test_runner_without_a_token_is_waiting_and_has_no_life() -> None:
    """It is counted apart: nobody uses a token that is not there."""
    state = health([runner(life=None)], now=NOW)
    assert (state.waiting_for_first, state.expired, state.least_life) == (1, 0, None)


@pytest.mark.parametrize(("writes", "slots", "busiest"), [(155, 2, 78), (90, 1, 90), (91, 1, 91)])
def test_writes_are_counted_for_the_busiest_secret(writes: int, slots: int, busiest: int) -> None:
    """Secrets are written in turn: a runner with two of them writes each every other time."""
    rows = [runner(window_writes=writes, slots=slots), runner("quiet")]
    assert health(rows, now=NOW).most_writes_per_secret == busiest


def test_deleted_runner_is_planned_and_not_counted() -> None:
    """B6, B16: its secrets are swept, and how its last token does is nobody's trouble."""
    deleted = runner(life=-900, deleted_at=NOW)
    assert len(due_units([deleted])) == 1
    assert health([deleted], now=NOW) == health([], now=NOW)
