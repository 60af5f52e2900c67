"""When a failed refresh is tried again: the policy as a table, without rows and without calls."""

from copy import replace
from math import inf
from typing import Any

import pytest

from refresh_tokens.errors import (
    ERROR_CLASSES,
    REFUSALS_OF_A_CLIENT,
    ErrorClass,
    RefreshFailed,
)
from refresh_tokens.retries import (
    BREAKER_RECHECK_SECONDS as RECHECK,
)
from refresh_tokens.retries import (
    EARLY_TRIES_SECONDS,
    MAX_WAIT_SECONDS,
    NEW_SECRET_SECONDS,
    REFUSED_RETRY_SECONDS,
    ClientState,
    SecretVersion,
    TokenLife,
    after_failure,
    back_off,
    back_off_until,
    may_ask,
)

NOW = 1_800_000_000
OLD = SecretVersion("v1", NOW - NEW_SECRET_SECONDS)
WORKS = ClientState(error_class="", since=NOW - 86_400, retry_at=0, attempts=0, worked_version="v1")


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


@pytest.mark.parametrize(("lifetime", "left", "wait"), [(900, 100, 10), (60, 30, 15), (60, 14, 60)])
def test_back_off_leaves_one_more_try_while_the_token_lives(
    lifetime: int, left: int, wait: int
) -> None:
    """After many failures the usual wait is longer than a short-lived token has left."""
    tried = life(left, lifetime=lifetime, failures=9)
    assert back_off_until(tried, now=NOW, random=lambda: 0.5) == NOW + wait


def failed(
    error_class: ErrorClass,
    left: int = 390,
    *,
    retry_after: float | None = None,
    state: ClientState | None = WORKS,
    version: SecretVersion = OLD,
) -> tuple[int, ClientState | None]:
    """The wait until the token's next try, and the client's new state."""
    later, new_state = after_failure(
        RefreshFailed(error_class, "-", retry_after=retry_after),
        life(left),
        state=state,
        version=version,
        now=NOW,
        random=lambda: 1.0,
    )
    assert later.asked
    assert later.error_class == error_class
    return later.until - NOW, new_state


@pytest.mark.parametrize(
    ("retry_after", "left", "wait", "of_client"),
    [
        (10, 390, 10, 10),
        (299, 390, 299, 299),
        (86_400, 390, RECHECK, 900),
        (inf, 380, 290, 900),
        (86_400, 91, 1, 900),
        (86_400, 90, RECHECK, 900),
        (86_400, -1000, RECHECK, 900),
        (86_400, 86_400, RECHECK, 900),
        (200, -1000, 200, 200),
        (0, 390, 1, 1),
        (-5, 390, 1, 1),
    ],
)
def test_retry_after_is_limited_and_leaves_one_more_try_while_the_token_lives(
    retry_after: float, left: int, wait: int, of_client: int
) -> None:
    """An issuer that asks for a day is asked after a quarter of an hour, and for a token sooner."""
    until, state = failed("rate_limited", left, retry_after=retry_after)
    assert until == wait
    assert state is not None
    assert state.retry_at == NOW + of_client
    assert (state.asked_version, state.is_refused) == ("v1", False)


FIRST_FAILURES: list[tuple[ErrorClass, int, int | None]] = [
    ("invalid_client", RECHECK, REFUSED_RETRY_SECONDS),
    ("invalid_grant", RECHECK, REFUSED_RETRY_SECONDS),
    ("unauthorized_client", RECHECK, REFUSED_RETRY_SECONDS),
    ("unsupported_grant_type", RECHECK, REFUSED_RETRY_SECONDS),
    ("client_secret_unusable", RECHECK, REFUSED_RETRY_SECONDS),
    ("access_denied", REFUSED_RETRY_SECONDS, None),
    ("invalid_request", REFUSED_RETRY_SECONDS, None),
    ("invalid_scope", REFUSED_RETRY_SECONDS, None),
    ("invalid_target", REFUSED_RETRY_SECONDS, None),
    ("rate_limited", 5, 5),
    ("issuer_unavailable", 5, 5),
    ("issuer_mismatch", 5, 5),
    ("issuer_timeout", 5, 5),
    ("unexpected_status", 5, 5),
    ("store_throttled", 5, 5),
    ("store_refused", 5, 5),
    ("answer_unusable", 5, None),
    ("nearly_dead_token", 5, None),
    ("unexpected_error", 5, None),
]


@pytest.mark.parametrize(("error_class", "wait", "of_client"), FIRST_FAILURES)
def test_first_failure_of_each_class_waits_for_its_client_or_its_token(
    error_class: ErrorClass, wait: int, of_client: int | None
) -> None:
    """Only a failure of the client makes its other tokens wait, and a refusal waits for an hour."""
    until, state = failed(error_class)
    assert until == wait
    assert (None if state is None else state.retry_at - NOW) == of_client
    assert (state is not None and state.is_refused) == (error_class in REFUSALS_OF_A_CLIENT)


def test_every_error_class_is_in_the_table() -> None:
    """The table above has all classes."""
    assert {row[0] for row in FIRST_FAILURES} == ERROR_CLASSES


def waiting(**changes: Any) -> ClientState:
    """The state of a client that was asked to wait for 15 minutes a minute ago."""
    values: dict[str, Any] = {
        "error_class": "rate_limited",
        "since": NOW - 60,
        "retry_at": NOW - 60 + MAX_WAIT_SECONDS,
        "attempts": 1,
        "asked_version": "v1",
        **changes,
    }
    return ClientState(**values)


def refused(times: int, **changes: Any) -> ClientState:
    """The state of a client that was refused so many times with the version `v1`."""
    values: dict[str, Any] = {
        "error_class": "invalid_client",
        "since": NOW - 10,
        "retry_at": NOW,
        "attempts": times,
        "asked_version": "v1",
        "refusals": times,
        "worked_version": "v1",
        **changes,
    }
    return ClientState(**values)


@pytest.mark.parametrize("error_class", ["invalid_client", "unauthorized_client"])
@pytest.mark.parametrize(
    ("state", "age", "wait"),
    [
        (WORKS, NEW_SECRET_SECONDS - 1, 10),
        (WORKS, NEW_SECRET_SECONDS, None),
        (None, NEW_SECRET_SECONDS, 10),
        (replace(WORKS, worked_version="v0"), NEW_SECRET_SECONDS, 10),
        (refused(1), 60, 30),
        (refused(2), 60, 60),
        (refused(3), 60, None),
        (refused(1), NEW_SECRET_SECONDS, None),
        (refused(2, worked_version=None), NEW_SECRET_SECONDS, 60),
        (refused(3, worked_version=None), NEW_SECRET_SECONDS, None),
        (refused(9, worked_version=None), NEW_SECRET_SECONDS, None),
        (refused(9, asked_version="v0", worked_version="v0"), 60, 10),
        (refused(9, asked_version=None, broken_version="v0"), 60, 10),
        (waiting(), 60, 10),
    ],
)
def test_secret_that_is_new_or_never_worked_is_tried_three_more_times(
    error_class: ErrorClass, state: ClientState | None, age: int, wait: int | None
) -> None:
    """Some of the issuer's servers may not know it yet; the count is the version's."""
    version = SecretVersion("v1", NOW - age)
    until, new_state = failed(error_class, state=state, version=version)
    assert new_state is not None
    assert new_state.is_refused is (wait is None)
    assert until == (RECHECK if wait is None else wait)
    if wait is None:
        assert new_state.retry_at == NOW + REFUSED_RETRY_SECONDS


def test_early_tries_are_made_within_two_minutes() -> None:
    """So a secret that is wrong stops its client soon."""
    assert len(EARLY_TRIES_SECONDS) == 3
    assert sum(EARLY_TRIES_SECONDS) < 120


@pytest.mark.parametrize(
    "error_class", sorted(REFUSALS_OF_A_CLIENT - {"invalid_client", "unauthorized_client"})
)
def test_other_refusal_of_a_new_secret_counts_at_once(error_class: ErrorClass) -> None:
    """It does not depend on what the issuer's servers know of the secret."""
    _, state = failed(error_class, state=None, version=SecretVersion("v1", NOW))
    assert state is not None
    assert state.is_refused


REFUSED = {"broken_version": "v1", "retry_at": NOW + 3_540}


@pytest.mark.parametrize(
    ("changes", "left", "version", "is_asked"),
    [
        ({}, 390, "v1", False),
        ({}, -10, "v1", False),
        ({}, 91, "v1", False),
        ({}, 90, "v1", True),
        ({}, 1, "v1", True),
        ({}, 0, "v1", False),
        ({}, 390, "v2", True),
        ({}, 390, None, False),
        ({"retry_at": NOW + 1}, 390, "v1", False),
        ({"retry_at": NOW}, 390, "v1", True),
        ({"asked_version": None}, 390, "v2", False),
        ({"retry_at": NOW + 86_400}, 390, "v1", False),
        ({"retry_at": NOW + 86_400, "since": NOW - MAX_WAIT_SECONDS + 1}, 390, "v1", False),
        ({"retry_at": NOW + 86_400, "since": NOW - MAX_WAIT_SECONDS}, 390, "v1", True),
        ({"retry_at": NOW + 86_400, "since": NOW + MAX_WAIT_SECONDS + 1}, 390, "v1", True),
        (REFUSED, 390, "v1", False),
        (REFUSED, 90, "v1", False),
        (REFUSED, 390, "v2", True),
        (REFUSED | {"asked_version": None}, 390, "v1", False),
        (REFUSED | {"asked_version": None}, 390, "v2", True),
        (REFUSED | {"broken_version": "", "asked_version": None}, 390, "v1", True),
        (REFUSED | {"retry_at": NOW}, 390, "v1", True),
        ({"refusals": 1}, 90, "v1", False),
    ],
)
def test_wait_ends_with_time_another_version_or_the_tokens_last_try(
    changes: dict[str, Any], left: int, version: str | None, *, is_asked: bool
) -> None:
    """A refused version is not tried for a token's sake, because that can lock the client."""
    state = waiting(**changes)
    assert may_ask(state, life(left), version=version, now=NOW) is is_asked


def test_client_without_trouble_is_asked() -> None:
    """A client that works has no state."""
    assert may_ask(None, life(390), version="v1", now=NOW)
