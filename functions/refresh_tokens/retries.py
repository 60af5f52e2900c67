"""When a failed refresh is tried again, and what is kept of it and of its client's trouble.

Pure functions: errors, rows, times and a client's state in, rows, times and its new state out.
`make simulate` runs them on simulated time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from byline.refresh.timing import TICK_SECONDS, required_margin
from byline.refresh.token_rows import LastError, TokenRow
from byline.retries import jittered_wait
from refresh_tokens.errors import (
    FAILURES_OF_A_TOKEN,
    REFUSALS_OF_A_CLIENT,
    REFUSALS_OF_A_REQUEST,
    REFUSALS_OF_A_SECRET,
    RefreshFailed,
    RetryLater,
)

BACK_OFF_BASE_SECONDS = 5
BACK_OFF_CAP_SECONDS = 120

BREAKER_RECHECK_SECONDS = 300
"""How often the secret of a client that waits is read, to see whether it has another version."""

MAX_WAIT_SECONDS = 900
"""The longest wait that an issuer's `Retry-After` causes. Some issuers ask for a day."""

NEW_SECRET_SECONDS = 900
"""How long a version of a client's secret is new. Issuers take up to two minutes to know a new
secret on all their servers, and people write it here before or after they write it there."""

EARLY_TRIES_SECONDS = (10, 30, 60)
"""The waits after the first refusals of a secret that is new, or has never worked."""

LAST_TRY_SECONDS = TICK_SECONDS + 30
"""The longest time before a token's deadline at which it is tried once more: until a tick finds it,
and for the queue and the mint."""

REFUSED_RETRY_SECONDS = 3_600
"""How often a refused client or request is tried again: an administrator may have corrected it at
the issuer. One attempt an hour does not lock the client's account."""


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """A version of a client's secret. `written_at`: in seconds since the epoch."""

    id: str
    written_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientState:
    """An OAuth client's trouble since `since`, or that it works. Times: seconds since the epoch.

    `error_class`: empty for a client that works. `detail`: the error's sentence. `retry_at`: when
    the issuer may be asked again.
    `attempts`: failures in a row. `refusals`: those by which the issuer refused this version of the
    client's secret. `asked_version`: the version that was used; None where it could not be read.
    `broken_version`: the same version once it is not tried any more for an hour, because that can
    lock the client (RFC 6749, section 5.2). `worked_version`: the last one that got a token.
    """

    error_class: str
    since: int
    retry_at: int
    attempts: int
    detail: str = ""
    broken_version: str | None = None
    asked_version: str | None = None
    refusals: int = 0
    worked_version: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the client waits for another secret, or for an hour."""
        return self.broken_version is not None

    @property
    def version(self) -> str | None:
        """The version of the client's secret that the trouble is about."""
        return self.broken_version if self.asked_version is None else self.asked_version

    def waits(self, *, now: float) -> bool:
        """Whether the issuer is not asked at `now`, unless something else permits it.

        No wait is longer than its limit, whatever the row says.
        """
        limit = REFUSED_RETRY_SECONDS if self.is_refused else MAX_WAIT_SECONDS
        return now < self.retry_at and self.since - limit <= now < self.since + limit


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

    def is_last_try(self, *, now: float) -> bool:
        """Whether a try at `now` is the last one that can replace the token while it lives."""
        return self.last_try <= now < self.deadline


def life_of(row: TokenRow) -> TokenLife:
    """The newest generation of a token, as the policy of retries sees it."""
    return TokenLife(deadline=row.deadline, lifetime=row.lifetime or 0, failures=row.attempts)


def retried_later(
    row: TokenRow, *, error_class: str, detail: str, until: int, now: int
) -> TokenRow:
    """The row after a failed refresh: tried again at `until`, with the error and its sentence.

    Without a live token it is due before that: the planner counts what is due.
    """
    until = max(until, now + 1)
    due_at = until
    if row.is_live:
        due_at = min(until, max(row.expires_at or 0, now + 1))
    since = now if row.last_error is None else row.last_error.since
    return replace(
        row,
        due_at=due_at,
        next_try_at=until if until > due_at else None,
        attempts=row.attempts + 1,
        last_error=LastError(error_class=error_class, detail=detail, since=since, at=now),
    )


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


def back_off_until(life: TokenLife, *, now: int, random: Callable[[], float]) -> int:
    """When to try again after a failure that is this token's alone, in seconds since the epoch."""
    return not_after_last_try(
        now + ceil(back_off(life.failures + 1, random=random)), life=life, now=now
    )


def not_after_last_try(until: int, *, life: TokenLife, now: int) -> int:
    """`until`, or the token's last try if that is sooner and still to come."""
    return min(until, life.last_try) if now < life.last_try else until


def may_ask(state: ClientState | None, life: TokenLife, *, version: str | None, now: int) -> bool:
    """Whether the issuer may be asked for a token as the client whose trouble is `state`.

    Another `version` of the client's secret may be tried at once. While a client waits that was not
    refused, each of its tokens is tried once more before it expires.
    """
    if state is None or not state.waits(now=now):
        return True
    if version is not None and state.version is not None and version != state.version:
        return True
    return not state.refusals and not state.is_refused and life.is_last_try(now=now)


def next_look(state: ClientState, life: TokenLife, *, now: int) -> int:
    """When a token of a client that waits is due again, in seconds since the epoch.

    It is due before the wait is over, to see whether the client's secret has another version, and
    for the token's last try.
    """
    until = min(state.retry_at, now + BREAKER_RECHECK_SECONDS)
    if state.refusals or state.is_refused:
        return until
    return not_after_last_try(until, life=life, now=now)


def after_failure(
    failure: RefreshFailed,
    life: TokenLife,
    *,
    state: ClientState | None,
    version: SecretVersion | None,
    now: int,
    random: Callable[[], float],
) -> tuple[RetryLater, ClientState | None]:
    """When to try again after a failed mint, and the client's new state.

    `state`: the client's state before; `version`: of its secret, None where the secret could not be
    read. The new state is None where the failure is the request's alone, and not the client's.

    A secret that is new or has never worked may be unknown to some of the issuer's servers, so it
    is tried three more times within two minutes before its refusal counts.
    """
    error_class, detail = failure.error_class, failure.detail
    if error_class in REFUSALS_OF_A_REQUEST:
        until = now + REFUSED_RETRY_SECONDS
        return RetryLater(error_class, detail, until=until, asked=True), None
    if error_class in FAILURES_OF_A_TOKEN:
        until = back_off_until(life, now=now, random=random)
        return RetryLater(error_class, detail, until=until, asked=True), None
    attempts = 1 + (state.attempts if state is not None and state.attempts else life.failures)
    asked_version = None if version is None else version.id
    worked_version = None if state is None else state.worked_version
    refusals = 0
    if error_class in REFUSALS_OF_A_CLIENT:
        refusals = 1
        if state is not None and state.version == asked_version:
            refusals += state.refusals
    is_early = (
        error_class in REFUSALS_OF_A_SECRET
        and version is not None
        and (version.id != worked_version or now < version.written_at + NEW_SECRET_SECONDS)
        and refusals <= len(EARLY_TRIES_SECONDS)
    )
    if is_early:
        wait: float = EARLY_TRIES_SECONDS[refusals - 1]
    elif refusals:
        wait = REFUSED_RETRY_SECONDS
    elif failure.retry_after is not None:
        wait = min(failure.retry_after, MAX_WAIT_SECONDS)
    else:
        wait = back_off(attempts, random=random)
    new_state = ClientState(
        error_class=error_class,
        since=now,
        retry_at=now + max(1, ceil(wait)),
        attempts=attempts,
        detail=detail,
        # A missing secret has no version; a new one has another.
        broken_version=(asked_version or "") if refusals and not is_early else None,
        asked_version=asked_version,
        refusals=refusals,
        worked_version=worked_version,
    )
    until = next_look(new_state, life, now=now)
    return RetryLater(error_class, detail, until=until, asked=True), new_state
