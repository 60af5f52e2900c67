"""What a refresh, or a failed one, changes in a runner's row."""

from copy import replace

import pytest

from byline.refresh.runner_rows import LastError, RunnerRow
from byline.refresh.timing import DAY_SECONDS, due_window, refreshed
from refresh_tokens.row_changes import retried_later

NOW = 1_800_000_000
ROW = RunnerRow(
    project="payments",
    runner="nightly",
    client="scheduler",
    revision="request-1",
    generation=7,
    deadline=NOW,
    created_at="2027-01-15T08:00:00.000Z",
    updated_at="2027-01-15T08:00:00.000Z",
    shard="07",
    due_at=NOW - 10,
    attempts=3,
    last_error=LastError(error_class="issuer_timeout", at=NOW - 20),
)


def after_refresh(row: RunnerRow, *, issued_at: int = NOW) -> RunnerRow:
    return refreshed(row, slot=0, slots=2, issued_at=issued_at, expires_at=issued_at + 900, now=NOW)


def test_refresh_clears_attempts_and_last_error() -> None:
    """The next back-off begins with its first wait."""
    after = after_refresh(ROW)
    assert (after.attempts, after.last_error, after.generation) == (0, None, 8)


def test_token_written_earlier_is_due_by_its_own_age() -> None:
    """A worker wrote it and crashed; its lifetime began then."""
    after = after_refresh(ROW, issued_at=NOW - 400)
    window = due_window(900)
    assert after.due_at is not None
    assert NOW - 400 + window.first <= after.due_at <= NOW - 400 + window.last


@pytest.mark.parametrize(("age", "writes"), [(DAY_SECONDS - 1, 90), (DAY_SECONDS, 1)])
def test_writes_are_counted_within_24_hours(age: int, writes: int) -> None:
    """The alarm on secret versions uses this number."""
    row = replace(ROW, window_started_at=NOW - age, window_writes=89)
    after = after_refresh(row)
    assert after.window_writes == writes
    assert after.window_started_at == (NOW if writes == 1 else NOW - age)


@pytest.mark.parametrize(("until", "try_at"), [(-5, 1), (0, 1), (1, 1), (60, 60)])
def test_failed_runner_is_tried_later_than_now(until: int, try_at: int) -> None:
    """A row that stayed due would be tried again without a pause."""
    after = retried_later(ROW, error_class="rate_limited", until=NOW + until, now=NOW)
    assert after.try_at == NOW + try_at
    assert (after.attempts, after.generation) == (4, 7)
    assert after.last_error == LastError(error_class="rate_limited", at=NOW)


@pytest.mark.parametrize(
    ("expires_at", "due_at", "next_try_at"),
    [
        (NOW + 100, NOW + 60, None),
        (NOW + 60, NOW + 60, None),
        (NOW + 59, NOW + 59, NOW + 60),
        (NOW - 500, NOW + 1, NOW + 60),
        (None, NOW + 1, NOW + 60),
    ],
)
def test_failed_runner_without_a_live_token_is_due_before_its_next_try(
    expires_at: int | None, due_at: int, next_try_at: int | None
) -> None:
    """Every tick counts what is due, so it counts tokens that are expired or missing."""
    row = replace(ROW, expires_at=expires_at)
    after = retried_later(row, error_class="invalid_scope", until=NOW + 60, now=NOW)
    assert (after.due_at, after.next_try_at, after.try_at) == (due_at, next_try_at, NOW + 60)
    assert after_refresh(after).next_try_at is None


def test_sweep_that_failed_is_due_when_it_is_tried_again() -> None:
    """A deleted runner has no token that counts."""
    row = replace(ROW, deleted_at=NOW - 10)
    after = retried_later(row, error_class="store_refused", until=NOW + 60, now=NOW)
    assert (after.due_at, after.next_try_at) == (NOW + 60, None)
