"""When a token is due and how many secrets it needs, computed from its lifetime.

Pure functions: seconds and rows in, seconds and rows out. `make simulate` runs them on simulated
time. Constants that fit one lifetime break another, so all follows from the lifetime T:

| T | due at the age | secrets |
| --- | --- | --- |
| under 660 | up to T/20 before T/2 | as many as the writes need |
| 660 to 1,289 | T−390 to T−330 | 2 to 4 |
| from 1,290 | 960 or 2/3 of T, and up to a tenth of T later | 1 |
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal

from byline.refresh.token_rows import TokenRow

MARGIN_SECONDS = 330
"""The life that a token has left when it is due: a tick (60), the scheduler's precision (60), queue
and work (60), the reader's cache (60), clock skew (30), two retries (60)."""

READERS_SECONDS = 90
"""The readers' part of the margin: a reader's cache (60) and clock skew (30). The rest is spent
between falling due and being replaced, so every tick sees tokens with less than the margin left."""

CLOCK_SKEW_SECONDS = 30
"""How far the issuer's clock may differ from this one."""

MIN_LIFETIME_SECONDS = 30
"""The clock skew: a token with a shorter lifetime may have expired when it arrives."""

MAX_LIFETIME_SECONDS = 31_536_000
"""A year. A token with a longer lifetime is refreshed as if it lived a year."""

SOON_SECONDS = 120
"""A token that is due sooner than this gets a message at once and does not wait for a tick."""

TICK_SECONDS = 60

_TICKS_TOO_LATE_SECONDS = 2 * TICK_SECONDS + READERS_SECONDS
"""A token with less margin than this may expire before two ticks have run."""

LEASE_SECONDS = 20
"""How long a lease lasts when its worker dies: shorter than the time between a tick's two messages
for a work unit, longer than a batch of writes waits for the write limiter."""

WRITES_PER_DAY = 90
"""Writes to one secret within 24 hours. AWS keeps every younger version, and refuses the next write
once there are 100 (https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html)."""

DAY_SECONDS = 86_400

_TRIED_EARLY = frozenset({"invalid_client", "unauthorized_client"})

_SHORT_LIFETIME_SECONDS = 2 * MARGIN_SECONDS
_SPACED_SECONDS = -(-DAY_SECONDS // WRITES_PER_DAY)  # 960: one secret's shortest interval
_SPREAD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Window:
    """The ages of a token, in whole seconds, between which it falls due, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownToken:
    """The newest generation of a token: its lifetime in seconds, and when it expires."""

    lifetime: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedToken:
    """A Bearer token as an issuer gave it out. Times are whole seconds since the epoch.

    `issued_at`: when it was asked for, which is not later than its real beginning. `lifetime`: how
    many seconds it can be used from then on. `full_lifetime`: what it had at first, if the token
    says so; it is more than `lifetime` where the token came from a cache.
    """

    text: str = field(repr=False)
    issued_at: int
    lifetime: int
    full_lifetime: float | None = None

    @property
    def token_type(self) -> Literal["Bearer"]:
        """The only type that is taken (RFC 6750)."""
        return "Bearer"

    @property
    def expires_at(self) -> int:
        """When it can no longer be used."""
        return self.issued_at + self.lifetime


def due_window(lifetime: int) -> Window:
    """The ages at which a token of this lifetime falls due, counted from the token request."""
    if lifetime < _SHORT_LIFETIME_SECONDS:
        return Window(-(-9 * lifetime // 20), lifetime // 2)
    last = lifetime - MARGIN_SECONDS
    if last < _SPACED_SECONDS:
        return Window(last - _SPREAD_SECONDS, last)
    first = max(_SPACED_SECONDS, -(-2 * lifetime // 3))
    return Window(first, min(first + max(_SPREAD_SECONDS, lifetime // 10), last))


def due_after(lifetime: int, *, seed: str) -> int:
    """The age in seconds at which a token is due: a place in its window, computed from `seed`."""
    window = due_window(lifetime)
    place = int.from_bytes(sha256(seed.encode()).digest()[:8])
    return window.first + place * (window.last - window.first + 1) // 2**64


def spread_seed(*, token_id: str, generation: int) -> str:
    """The seed of a token's due time: tokens are spread, and differently for each generation."""
    return f"{token_id}#{generation}"


def slots_for(lifetime: int, *, at_least: int = 1) -> int:
    """The number of secrets to write in turn, so that none gets more than `WRITES_PER_DAY`.

    `at_least`: the token's slots so far. With fewer slots after a change of lifetime, one secret
    would get the writes of both lifetimes, and other secrets would never be deleted.
    """
    writes_per_slot = due_window(lifetime).first * WRITES_PER_DAY
    return max(at_least, -(-DAY_SECONDS // writes_per_slot))


def required_margin(lifetime: int) -> float:
    """The life in seconds that a token of this lifetime must have left to be worth writing."""
    return min(MARGIN_SECONDS, lifetime / 2)


def is_short_lived(lifetime: int) -> bool:
    """Whether tokens of this lifetime fall due with too little life left to wait for ticks."""
    return required_margin(lifetime) < _TICKS_TOO_LATE_SECONDS


def lifetime_of(
    *,
    expires_in: float | None,
    issued: float | None,
    expires: float | None,
    now: float,
    default: int,
) -> int:
    """T: how many seconds a token can be used from `now` on.

    `expires_in` is the answer's, `issued` and `expires` are the token's own, seconds since the
    epoch. The shortest counts. The token's own times count by their difference, which does not
    depend on this clock, unless the token is older than the clock skew: then it came from a cache,
    and the rest of its life counts. Without any of them T is `default`.
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
    """Whether a token that was just minted has too little life left to be written.

    `lifetime` is what is left of it, `full` what it had at first, if the token says so. An opaque
    token does not: then `known`, the token that it replaces, tells what to expect, unless the new
    token expires more than a tick later. In that case the issuer may have shortened its lifetimes,
    and the new token is the best that there is.
    """
    if lifetime < MIN_LIFETIME_SECONDS:
        return True
    if full is not None:
        return lifetime <= required_margin(int(full))
    if known is None or now + lifetime > known.expires_at + TICK_SECONDS:
        return False
    return lifetime <= required_margin(known.lifetime)


def known_token(row: TokenRow) -> KnownToken | None:
    """The token's newest generation, None before the first."""
    if row.lifetime is None or row.expires_at is None:
        return None
    return KnownToken(lifetime=row.lifetime, expires_at=row.expires_at)


def is_meant(row: TokenRow, *, up_to: int | None) -> bool:
    """Whether a due token is meant by a selection of deadlines `up_to` this one; None means all.

    Tokens that were never minted are always meant, and retired ones, which need no write.
    """
    return up_to is None or row.deadline <= up_to or row.expires_at is None or not row.is_live


def by_deadline(rows: Iterable[TokenRow]) -> list[TokenRow]:
    """The rows in the order of their deadlines, retired tokens after all live ones."""
    return sorted(rows, key=lambda row: (not row.is_live, row.deadline, row.id))


def refreshed(
    row: TokenRow, *, slot: int, slots: int, issued_at: int, expires_at: int, now: int
) -> TokenRow:
    """The row after its next generation was written into `slot`."""
    generation = row.generation + 1
    lifetime = expires_at - issued_at
    seed = spread_seed(token_id=row.id, generation=generation)
    started, writes = row.window_started_at, row.window_writes or 0
    if started is None or now >= started + DAY_SECONDS:
        started, writes = now, 0
    return replace(
        row,
        generation=generation,
        slot=slot,
        slots=slots,
        lifetime=lifetime,
        issued_at=issued_at,
        expires_at=expires_at,
        deadline=expires_at,
        refreshed_at=now,
        due_at=issued_at + due_after(lifetime, seed=seed),
        next_try_at=None,
        attempts=0,
        last_error=None,
        window_started_at=started,
        window_writes=writes + 1,
    )


def is_due_soon(row: TokenRow, *, now: int) -> bool:
    """Whether a refreshed or failed token is due again before the next tick may find it.

    After a failure only tokens that were never minted, short-lived ones and a client's new secret
    cannot wait for a tick. The planner decides about all others, because only it sees which
    deadlines are the earliest.
    """
    if row.shard is None or row.try_at is None or row.try_at - now >= SOON_SECONDS:
        return False
    if not row.attempts or row.expires_at is None or _is_tried_early(row):
        return True
    return row.expires_at > now and is_short_lived(row.lifetime or 0)


def _is_tried_early(row: TokenRow) -> bool:
    """Whether the refusal of the token's client is tried again, because its secret may be new.

    Any other refusal is due much later than the next tick.
    """
    return row.last_error is not None and row.last_error.error_class in _TRIED_EARLY
