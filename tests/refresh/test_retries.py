"""When a failed refresh is tried again: the policy as a table, without rows and without calls."""

from math import inf

import pytest

from refresh_tokens.retries import BACK_OFF_CAP_SECONDS, TokenLife, back_off, retry_at

NOW = 1_800_000_000
CAP = BACK_OFF_CAP_SECONDS


def life(left: int, *, lifetime: int = 900, failures: int = 0) -> TokenLife:
    """The life of a token that has `left` seconds until its deadline."""
    return TokenLife(deadline=NOW + left, lifetime=lifetime, failures=failures)


@pytest.mark.parametrize(
    ("attempts", "most"), [(0, 5), (1, 5), (2, 10), (3, 20), (5, 80), (6, 120), (10**6, 120)]
)
def test_back_off_doubles_up_to_its_cap_with_full_jitter(attempts: int, most: float) -> None:
    """From one second to the cap, at any point between."""
    assert back_off(attempts, random=lambda: 1.0) == most
    assert back_off(attempts, random=lambda: 0.5) == most / 2
    assert back_off(attempts, random=lambda: 0.0) == 1.0


@pytest.mark.parametrize(
    ("lifetime", "seconds"), [(30, 7), (60, 15), (300, 75), (360, 90), (900, 90), (86_400, 90)]
)
def test_last_try_is_a_tick_and_half_before_the_deadline(lifetime: int, seconds: int) -> None:
    """Half of the margin for a short-lived token, which waits for no tick."""
    assert life(900, lifetime=lifetime).last_try == NOW + 900 - seconds


@pytest.mark.parametrize(
    ("retry_after", "left", "wait"),
    [
        (10, 390, 10),
        (300, 390, 300),
        (301, 390, 300),
        (inf, 390, 300),
        (86_400, 91, 1),
        (86_400, 90, CAP),
        (86_400, -1000, CAP),
        (30, -1000, 30),
        (0, 390, 1),
        (-5, 390, 1),
    ],
)
def test_retry_after_leaves_one_more_try_while_the_token_lives(
    retry_after: float, left: int, wait: int
) -> None:
    """An issuer that asks for a longer wait may be well again by then."""
    at = retry_at(failures=1, retry_after=retry_after, life=life(left), now=NOW, random=lambda: 0.5)
    assert at == NOW + wait


@pytest.mark.parametrize(("lifetime", "left", "wait"), [(900, 100, 10), (60, 30, 15), (60, 14, 60)])
def test_back_off_leaves_one_more_try_while_the_token_lives(
    lifetime: int, left: int, wait: int
) -> None:
    """After many failures the usual wait is longer than a short-lived token has left."""
    at = retry_at(
        failures=9,
        retry_after=None,
        life=life(left, lifetime=lifetime),
        now=NOW,
        random=lambda: 0.5,
    )
    assert at == NOW + wait
