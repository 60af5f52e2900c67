"""When a failed refresh is tried again, and what is kept of its client's trouble.

Pure functions: rows and errors in, rows and times out. `make simulate` runs them on simulated time.
"""

from collections.abc import Callable
from dataclasses import replace

from byline.refresh.runner_rows import LastError, RunnerRow
from byline.refresh.timing import TICK_SECONDS
from byline.retries import jittered_wait
from refresh_tokens.clients import ClientState
from refresh_tokens.errors import (
    REFUSALS_OF_A_CLIENT,
    REFUSALS_OF_A_REQUEST,
    RefreshFailed,
    RetryLater,
)

BACK_OFF_BASE_SECONDS = 5
BACK_OFF_CAP_SECONDS = 120

BREAKER_RECHECK_SECONDS = 300
"""How often the secret of a refused client is read, to see whether it has another version."""

REFUSED_RETRY_SECONDS = 3_600
"""How often a refused client or request is tried again: an administrator may have corrected it at
the issuer. One attempt an hour does not lock the client's account."""


def back_off(attempts: int, *, random: Callable[[], float]) -> float:
    """Seconds until the next attempt after `attempts` failures in a row, at least one second.

    `random` is uniform from 0 to 1.
    """
    wait = jittered_wait(
        attempts,
        base_seconds=BACK_OFF_BASE_SECONDS,
        cap_seconds=BACK_OFF_CAP_SECONDS,
        random=random,
    )
    return max(1.0, wait)


def wait_as_asked(retry_after: float, *, deadline: float, now: float) -> float:
    """Seconds until the next attempt where the issuer asked to wait `retry_after` seconds.

    At most until a tick before the deadline, for one more attempt while the token lives. After that
    there is no token to save, and the issuer is asked as often as after any other failure.
    """
    limit = max(deadline - now - TICK_SECONDS, BACK_OFF_CAP_SECONDS)
    return max(1.0, min(retry_after, limit))


def retry_at(
    *,
    attempts: int,
    retry_after: float | None,
    deadline: int,
    now: int,
    random: Callable[[], float],
) -> int:
    """When to try again, in seconds since the epoch: as the issuer asked, or after a back-off."""
    if retry_after is not None:
        return now + int(wait_as_asked(retry_after, deadline=deadline, now=now)) + 1
    return now + int(back_off(attempts, random=random)) + 1


def retried_later(row: RunnerRow, *, error_class: str, until: int, now: int) -> RunnerRow:
    """The row after a failed refresh: due again at `until`, with the error's class."""
    return replace(
        row,
        due_at=max(until, now + 1),
        attempts=row.attempts + 1,
        last_error=LastError(error_class=error_class, at=now),
    )


def after_failure(
    failure: RefreshFailed,
    row: RunnerRow,
    *,
    state: ClientState | None,
    version: str | None,
    now: int,
    random: Callable[[], float],
) -> tuple[RetryLater, ClientState | None]:
    """When to try again after a failed mint, and the client's new state.

    `state`: the client's state before; `version`: of its secret, None where the secret could not be
    read. The new state is None where the failure is the request's alone, and not the client's.
    """
    error_class = failure.error_class
    if error_class in REFUSALS_OF_A_REQUEST:
        return RetryLater(error_class, until=now + REFUSED_RETRY_SECONDS, asked=True), None
    of_this_token = error_class in ("answer_unusable", "nearly_dead_token")
    attempts = 1 + (row.attempts if of_this_token or state is None else state.attempts)
    until = retry_at(
        attempts=attempts,
        retry_after=failure.retry_after,
        deadline=row.deadline,
        now=now,
        random=random,
    )
    if of_this_token:
        return RetryLater(error_class, until=until, asked=True), None
    recheck = until
    broken_version = None
    if error_class in REFUSALS_OF_A_CLIENT:
        until = now + REFUSED_RETRY_SECONDS
        recheck = now + BREAKER_RECHECK_SECONDS
        broken_version = version or ""  # a missing secret has no version; a new one has another
    new_state = ClientState(
        error_class=error_class,
        since=now,
        retry_at=until,
        attempts=attempts,
        broken_version=broken_version,
    )
    return RetryLater(error_class, until=recheck, asked=True), new_state
