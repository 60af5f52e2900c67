"""When a token is due and how many secrets it needs, from its lifetime and nothing else.

Pure: seconds in, seconds out. Constants that fit one lifetime break another, so all is derived from
the lifetime T:

| T | due at the age | secrets |
| --- | --- | --- |
| under 660 | up to T/20 before T/2 | as many as the writes need |
| 660 to 1,289 | T−390 to T−330 | 2 to 4 |
| from 1,290 | 960 or 2/3 of T, and up to a tenth of T later | 1 |
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

MARGIN_SECONDS = 330
"""The life that a reader can count on: a tick (60), the scheduler's precision (60), queue and work
(60), the reader's cache (60), clocks that differ (30), two retries (60)."""

READERS_SECONDS = 90
"""Of the margin what a reader counts on: its cache (60) and clocks that differ (30). The rest of it
is meant to be spent between falling due and being replaced, so every tick sees such tokens."""

CLOCK_SKEW_SECONDS = 30
"""By how much the issuer's clock and ours may differ."""

MIN_LIFETIME_SECONDS = 30
"""A token that lives shorter than clocks may differ is dead on arrival."""

MAX_LIFETIME_SECONDS = 31_536_000
"""A token that says it lives longer than a year is refreshed as if it lived a year."""

SOON_SECONDS = 120
"""What is due sooner than this after its refresh does not wait for the minute's tick."""

TICK_SECONDS = 60

_TICKS_TOO_LATE_SECONDS = 2 * TICK_SECONDS + READERS_SECONDS
"""A margin that is shorter than this is over before two ticks have had their turn."""

LEASE_SECONDS = 20
"""For how long a unit of work stays with a worker that died and does not renew its lease: shorter
than a unit's two messages of a tick lie apart, longer than a batch of puts waits for its turn."""

WRITES_PER_DAY = 90
"""To one secret within 24 hours. AWS keeps every version younger than that, and refuses the next
write once there are 100 (https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html)."""

DAY_SECONDS = 86_400

BACK_OFF_BASE_SECONDS = 5
BACK_OFF_CAP_SECONDS = 120

_SHORT_LIFETIME_SECONDS = 2 * MARGIN_SECONDS
_SPACED_SECONDS = -(-DAY_SECONDS // WRITES_PER_DAY)  # 960: one secret's shortest interval
_SPREAD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Window:
    """The ages of a token, in whole seconds and inclusive, between which it falls due."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownToken:
    """The token that a runner has had so far: its lifetime, and when its time is over."""

    lifetime: int
    expires_at: int


def due_window(lifetime: int) -> Window:
    """When a token of this lifetime falls due, counted from when it was asked for."""
    if lifetime < _SHORT_LIFETIME_SECONDS:
        return Window(-(-9 * lifetime // 20), lifetime // 2)
    last = lifetime - MARGIN_SECONDS
    if last < _SPACED_SECONDS:
        return Window(last - _SPREAD_SECONDS, last)
    first = max(_SPACED_SECONDS, -(-2 * lifetime // 3))
    return Window(first, min(first + max(_SPREAD_SECONDS, lifetime // 10), last))


def due_after(lifetime: int, *, seed: str) -> int:
    """The age at which a token is due: a place in its window that follows from `seed` alone."""
    window = due_window(lifetime)
    place = int.from_bytes(sha256(seed.encode()).digest()[:8])
    return window.first + place * (window.last - window.first + 1) // 2**64


def spread_seed(*, project: str, runner: str, generation: int) -> str:
    """A seed for every token: runners part from one another, and every round is spread anew."""
    return f"{project}/{runner}#{generation}"


def slots_for(lifetime: int, *, at_least: int = 1) -> int:
    """How many secrets to write in turn, so that none takes more than `WRITES_PER_DAY`.

    `at_least`: as many as there have been. A runner whose lifetimes change would otherwise hit one
    secret by several rhythms at once, and leave secrets behind that nobody deletes.
    """
    writes_per_slot = due_window(lifetime).first * WRITES_PER_DAY
    return max(at_least, -(-DAY_SECONDS // writes_per_slot))


def required_margin(lifetime: int) -> float:
    """The life, in seconds, that a token of this lifetime must have left to be worth writing."""
    return min(MARGIN_SECONDS, lifetime / 2)


def is_short_lived(lifetime: int) -> bool:
    """Whether tokens of this lifetime fall due with so little life that ticks come too late."""
    return required_margin(lifetime) < _TICKS_TOO_LATE_SECONDS


def lifetime_of(
    *,
    expires_in: float | None,
    issued: float | None,
    expires: float | None,
    now: float,
    default: int,
) -> int:
    """For how long a token can be used from `now` on, by all that is known: T.

    `expires_in` is the answer's, `issued` and `expires` are the token's own, seconds since the
    epoch. The least counts. Of the token's own times the difference is taken, which no clock of
    ours can spoil, unless the token is older than clocks may differ: then it came out of a cache,
    and what counts is what is left of it. With nothing known it is `default`.
    """
    known = [] if expires_in is None else [expires_in]
    if expires is not None:
        left = expires - now
        own = left if issued is None else expires - issued
        known.append(own if left >= own - CLOCK_SKEW_SECONDS else left)
    return int(max(0, min(*known, MAX_LIFETIME_SECONDS))) if known else default


def is_nearly_dead(
    lifetime: int,
    *,
    full: float | None = None,
    known: KnownToken | None = None,
    now: float,
) -> bool:
    """Whether a token that was just minted has too little life left to be handed to anybody.

    `lifetime` is what is left of it. What it had at first is `full`, where the token itself says
    so. An opaque token does not: then the one that it replaces, `known`, tells what to expect,
    unless the new one outlives it by more than a tick. That is an improvement, and all there is to
    be had where an issuer has shortened its lifetimes.
    """
    if lifetime < MIN_LIFETIME_SECONDS:
        return True
    if full is not None:
        return lifetime <= required_margin(int(full))
    if known is None or now + lifetime > known.expires_at + TICK_SECONDS:
        return False
    return lifetime <= required_margin(known.lifetime)


def back_off(attempts: int, *, random: Callable[[], float]) -> float:
    """Seconds until the next try after so many failures in a row: exponential, with full jitter.

    `random` gives a number from 0 to 1. Never under a second, so that nobody spins.
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    # Past 10 doublings the cap has long been reached, and floats have not yet ended.
    limit = min(BACK_OFF_CAP_SECONDS, BACK_OFF_BASE_SECONDS * 2.0 ** min(max(attempts - 1, 0), 10))
    return max(1.0, limit * random())


def wait_as_told(retry_after: float, *, deadline: float, now: float) -> float:
    """Seconds until the next try where the issuer said how long to wait.

    Capped by the remaining life, less a tick: one more try while the token still lives. With less
    than that left there is nothing to save, and the issuer is asked no oftener than after other
    failures.
    """
    limit = max(deadline - now - TICK_SECONDS, BACK_OFF_CAP_SECONDS)
    return max(1.0, min(retry_after, limit))
