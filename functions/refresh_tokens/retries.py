"""When a failed refresh is tried again, and what is kept of its client's trouble.

Pure functions: errors, times and a client's state in, times and its new state out. They know no
rows. `make simulate` runs them on simulated time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from byline.refresh.timing import TICK_SECONDS, required_margin
from byline.retries import jittered_wait
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

LAST_TRY_SECONDS = TICK_SECONDS + 30
"""The longest time before a token's deadline at which it is tried once more: until a tick finds it,
and for the queue and the mint."""

REFUSED_RETRY_SECONDS = 3_600
"""How often a refused client or request is tried again: an administrator may have corrected it at
the issuer. One attempt an hour does not lock the client's account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientState:
    """Why an OAuth client is not asked for tokens, since `since`. Times: seconds since the epoch.

    `retry_at`: when the issuer may be asked again. `attempts`: failures in a row. `broken_version`:
    the version of the client's secret that the issuer refused, if it did. Another version may be
    tried at once, because trying a refused one can lock the client (RFC 6749, section 5.2).
    """

    error_class: str
    since: int
    retry_at: int
    attempts: int
    broken_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLife:
    """What decides about retries of a token that is to be replaced.

    `deadline`: when it expires, in seconds since the epoch; without a token, a time in the past.
    `lifetime`: in seconds; 0 without a token. `failures`: failed refreshes in a row.
    """

    deadline: int
    lifetime: int
    failures: int

    @property
    def last_try(self) -> int:
        """When the last try is due that can still replace the token before its deadline.

        A short-lived token does not wait for a tick, so half of its margin is enough.
        """
        return self.deadline - int(min(LAST_TRY_SECONDS, required_margin(self.lifetime) / 2))


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


def retry_at(
    *,
    failures: int,
    retry_after: float | None,
    life: TokenLife,
    now: int,
    random: Callable[[], float],
) -> int:
    """When to try again, in seconds since the epoch: as the issuer asked, or after a back-off.

    It is not later than the token's last try. Once that is over, there is no token to save, and the
    issuer is asked as often as after any other failure.
    """
    if retry_after is None:
        wait = back_off(failures, random=random)
    elif now < life.last_try:
        wait = retry_after
    else:
        wait = min(retry_after, BACK_OFF_CAP_SECONDS)
    if now < life.last_try:
        wait = min(wait, life.last_try - now)
    return now + max(1, ceil(wait))


def back_off_until(life: TokenLife, *, now: int, random: Callable[[], float]) -> int:
    """When to try again after a failure that is this token's alone, in seconds since the epoch."""
    return retry_at(failures=life.failures + 1, retry_after=None, life=life, now=now, random=random)


def after_failure(
    failure: RefreshFailed,
    life: TokenLife,
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
    attempts = 1 + (life.failures if of_this_token or state is None else state.attempts)
    until = retry_at(
        failures=attempts,
        retry_after=failure.retry_after,
        life=life,
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
