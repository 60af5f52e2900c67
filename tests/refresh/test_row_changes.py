"""What a refresh, or a failed one, changes in a token's row."""

from copy import replace

import pytest

from byline.refresh.timing import DAY_SECONDS, due_window, refreshed
from byline.refresh.token_rows import LastError, TokenRow
from refresh_tokens.retries import retried_later

NOW = 1_800_000_000
ROW = TokenRow(
    project="payments",
    client="scheduler",
    id="token-1",
    runners=1,
    generation=7,
    deadline=NOW,
    created_at="2027-01-15T08:00:00.000Z",
    shard="07",
    due_at=NOW - 10,
    attempts=3,
    last_error=LastError(error_class="issuer_timeout", since=NOW - 500, at=NOW - 20),
)


def after_failure(row: TokenRow, *, wait: int = 60, error_class: str = "invalid_scope") -> TokenRow:
    return retried_later(
        row, error_class=error_class, detail="Status 400.", until=NOW + wait, now=NOW
    )


def after_refresh(row: TokenRow, *, issued_at: int = NOW) -> TokenRow:
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
def test_failed_token_is_tried_later_than_now(until: int, try_at: int) -> None:
    """A row that stayed due would be tried again without a pause."""
    after = after_failure(ROW, wait=until)
    assert after.try_at == NOW + try_at
    assert (after.attempts, after.generation) == (4, 7)


def test_failure_is_kept_with_the_begin_of_its_series() -> None:
    """Whatever the classes of the failures before."""
    after = after_failure(ROW)
    assert after.last_error == LastError(
        error_class="invalid_scope", detail="Status 400.", since=NOW - 500, at=NOW
    )


def test_first_failure_after_a_success_begins_a_series() -> None:
    """The one before is over."""
    after = after_failure(after_refresh(ROW))
    assert after.last_error is not None
    assert after.last_error.since == NOW


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
def test_failed_token_that_does_not_live_is_due_before_its_next_try(
    expires_at: int | None, due_at: int, next_try_at: int | None
) -> None:
    """Every tick counts what is due, so it counts tokens that are expired or missing."""
    row = replace(ROW, expires_at=expires_at)
    after = after_failure(row)
    assert (after.due_at, after.next_try_at, after.try_at) == (due_at, next_try_at, NOW + 60)
    assert after_refresh(after).next_try_at is None


def test_sweep_that_failed_is_due_when_it_is_tried_again() -> None:
    """A retired token is not counted as expired."""
    row = replace(ROW, retired_at=NOW - 10)
    after = after_failure(row, error_class="store_refused")
    assert (after.due_at, after.next_try_at) == (NOW + 60, None)
