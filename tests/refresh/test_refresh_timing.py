"""When a token is due, and how many secrets it needs."""

from collections import Counter, deque
from itertools import count, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.refresh.timing import (
    DAY_SECONDS,
    MARGIN_SECONDS,
    MAX_LIFETIME_SECONDS,
    WRITES_PER_DAY,
    KnownToken,
    Window,
    due_after,
    due_window,
    is_nearly_dead,
    lifetime_of,
    required_margin,
    slots_for,
    spread_seed,
)

NOW = 1_800_000_000.0
DEFAULT = 300

LIFETIMES = st.integers(30, 10**6)


@pytest.mark.parametrize(
    ("lifetime", "window", "slots"),
    [
        (60, Window(27, 30), 36),
        (300, Window(135, 150), 8),
        (600, Window(270, 300), 4),
        (659, Window(297, 329), 4),
        (660, Window(270, 330), 4),
        (900, Window(510, 570), 2),
        (1200, Window(810, 870), 2),
        (1289, Window(899, 959), 2),
        (1290, Window(960, 960), 1),
        (1350, Window(960, 1020), 1),
        (1800, Window(1200, 1380), 1),
        (3600, Window(2400, 2760), 1),
        (86_400, Window(57_600, 66_240), 1),
    ],
)
def test_window_and_slots_follow_from_the_lifetime(
    lifetime: int, window: Window, slots: int
) -> None:
    """The values that the module's table promises."""
    assert due_window(lifetime) == window
    assert slots_for(lifetime) == slots


def test_unknown_lifetime_is_the_default() -> None:
    """An opaque token without `expires_in` has the configured lifetime."""
    lifetime = lifetime_of(expires_in=None, issued=None, expires=None, now=NOW, default=DEFAULT)
    assert lifetime == DEFAULT
    assert due_window(lifetime) == Window(135, 150)


@given(LIFETIMES, st.text())
def test_token_is_due_within_its_window_and_its_life(lifetime: int, seed: str) -> None:
    """For any lifetime: before its end, and with the margin if it has room for one."""
    window = due_window(lifetime)
    due = due_after(lifetime, seed=seed)
    assert 0 < window.first <= due <= window.last < lifetime
    assert lifetime - due >= required_margin(lifetime)
    if lifetime >= 2 * MARGIN_SECONDS:
        assert lifetime - due >= MARGIN_SECONDS


@given(LIFETIMES)
def test_no_secret_gets_more_writes_than_planned_in_24_hours(lifetime: int) -> None:
    """The fastest refreshes for two days: never more than 90 in 24 hours."""
    interval, slots = due_window(lifetime).first, slots_for(lifetime)
    times = list(takewhile(lambda at: at < 2 * DAY_SECONDS, count(0, interval)))
    assert busiest_day([(at, number % slots) for number, at in enumerate(times)]) <= WRITES_PER_DAY


@given(st.lists(LIFETIMES, min_size=1, max_size=12), st.integers(0, 10**6))
def test_changing_lifetimes_stay_within_the_version_quota(lifetimes: list[int], start: int) -> None:
    """A secret may get one write more than planned when slots are added."""
    writes: list[tuple[int, int]] = []
    at, slots, known = 0, 1, set[int]()
    for generation in count(start):
        lifetime = lifetimes[generation % len(lifetimes)]
        slots = slots_for(lifetime, at_least=slots)
        known.add(slots)
        writes.append((at, generation % slots))
        at += due_window(lifetime).first
        if at > 2 * DAY_SECONDS:
            break
    assert busiest_day(writes) <= WRITES_PER_DAY + len(known) - 1


def busiest_day(writes: list[tuple[int, int]]) -> int:
    """The most writes to one slot within any 24 hours, of (time, slot) in order of time."""
    recent: dict[int, deque[int]] = {}
    most = 0
    for at, slot in writes:
        times = recent.setdefault(slot, deque())
        times.append(at)
        while times[0] <= at - DAY_SECONDS:
            times.popleft()
        most = max(most, len(times))
    return most


def test_one_slot_fewer_exceeds_the_planned_writes() -> None:
    """The number of slots is needed."""
    times = range(0, 2 * DAY_SECONDS, due_window(900).first)
    assert busiest_day([(at, 0) for at in times]) > WRITES_PER_DAY


def test_slots_are_never_fewer_than_before() -> None:
    """Every secret that was ever written can be found and deleted."""
    assert slots_for(3600, at_least=2) == 2
    assert slots_for(60, at_least=2) == 36


@pytest.mark.parametrize("lifetime", [300, 900, 1800, 3600, 86_400])
def test_tokens_registered_together_are_spread_over_the_window(lifetime: int) -> None:
    """Ten thousand tokens of one second are due evenly over the whole window."""
    window = due_window(lifetime)
    width = window.last - window.first + 1
    tenths = Counter(
        (due_after(lifetime, seed=seed_of(number, 1)) - window.first) * 10 // width
        for number in range(10_000)
    )
    shares = {
        tenth: sum(1 for second in range(width) if second * 10 // width == tenth)
        for tenth in range(10)
    }
    for tenth, seconds in shares.items():
        expected = 10_000 * seconds / width
        assert abs(tenths[tenth] - expected) < 0.15 * expected


def test_each_generation_is_spread_differently() -> None:
    """Tokens that are due together once do not stay together."""
    together = [number for number in range(2_000) if due_of(number, 1) == due_of(0, 1)]
    assert len(together) > 10
    assert len({due_of(number, 2) for number in together}) > len(together) // 2


def seed_of(number: int, generation: int) -> str:
    return spread_seed(token_id=f"token-{number}", generation=generation)


def due_of(number: int, generation: int) -> int:
    return due_after(900, seed=seed_of(number, generation))


@pytest.mark.parametrize(
    ("expires_in", "issued", "expires", "lifetime"),
    [
        (900, None, None, 900),
        (None, 0, 900, 900),
        (3600, 0, 900, 900),
        (300, 0, 900, 300),
        (None, None, 900, 900),
        (3600, None, 900, 900),
        (900, 0, None, 900),
        (899.9, None, None, 899),
        (0, None, None, 0),
        (-5, None, None, 0),
        (10**30, None, None, MAX_LIFETIME_SECONDS),
        (900, 30, 930, 900),
        (900, -30, 870, 900),
        (900, -31, 869, 869),
        (900, -700, 200, 200),
        (900, 900, 0, 0),
    ],
    ids=[
        "expires_in alone",
        "claims alone",
        "the token is shorter",
        "the answer is shorter",
        "no iat",
        "no iat, shorter",
        "no exp",
        "a fraction",
        "none left",
        "negative",
        "endless",
        "issuer's clock ahead",
        "issuer's clock behind as far as allowed",
        "older than clocks differ",
        "out of a cache",
        "expired before it was issued",
    ],
)
def test_shortest_known_lifetime_counts(
    expires_in: float | None, issued: int | None, expires: int | None, lifetime: int
) -> None:
    """`issued` and `expires` are relative to now."""
    assert lifetime == lifetime_of(
        expires_in=expires_in,
        issued=None if issued is None else NOW + issued,
        expires=None if expires is None else NOW + expires,
        now=NOW,
        default=DEFAULT,
    )


@pytest.mark.parametrize(
    ("full", "least"), [(900, 331), (3600, 331), (660, 331), (600, 301), (100, 51), (40, 30)]
)
def test_cached_token_needs_its_margin(full: int, least: int) -> None:
    """The last second that suffices, and the first that does not."""
    assert not is_nearly_dead(least, full=full, now=NOW)
    assert is_nearly_dead(least - 1, full=full, now=NOW)


def test_fresh_token_of_any_lifetime_is_accepted() -> None:
    """Down to the clock skew."""
    assert not any(is_nearly_dead(life, full=life, now=NOW) for life in range(30, 5_000))
    assert is_nearly_dead(29, full=29, now=NOW)
    assert is_nearly_dead(29, now=NOW)
    assert not is_nearly_dead(30, now=NOW)


def test_opaque_token_is_compared_with_the_lifetime_before() -> None:
    """It has no age of its own; the token before it had the full lifetime."""
    known = KnownToken(lifetime=900, expires_at=int(NOW) + 380)
    assert is_nearly_dead(330, known=known, now=NOW)
    assert not is_nearly_dead(331, known=known, now=NOW)
    assert not is_nearly_dead(330, now=NOW)


def test_shorter_token_that_outlives_the_present_one_is_accepted() -> None:
    """The issuer may have shortened its lifetimes."""
    assert is_nearly_dead(300, known=KnownToken(lifetime=3600, expires_at=int(NOW) + 240), now=NOW)
    known = KnownToken(lifetime=3600, expires_at=int(NOW) + 239)
    assert not is_nearly_dead(300, known=known, now=NOW)


def test_age_in_the_token_counts_before_the_lifetime_before() -> None:
    """A token that states its own times is judged by them."""
    expired = KnownToken(lifetime=900, expires_at=int(NOW) - 1)
    assert is_nearly_dead(200, full=900, known=expired, now=NOW)
    long_lived = KnownToken(lifetime=3600, expires_at=int(NOW) + 1200)
    assert not is_nearly_dead(300, full=300, known=long_lived, now=NOW)
