"""Waits between attempts are random, grow, and stay below their caps."""

import pytest

from byline.retries import jittered_wait


@pytest.mark.parametrize("part", [0.0, 0.25, 1.0])
def test_longest_wait_doubles_with_each_failure_up_to_the_cap(part: float) -> None:
    """The jitter takes any part of the longest wait, from nothing to all of it."""
    for failures, longest in [(0, 2), (1, 2), (2, 4), (3, 8), (4, 10), (9, 10)]:
        wait = jittered_wait(failures, base_seconds=2, cap_seconds=10, random=lambda: part)
        assert wait == part * longest


def test_wait_after_any_number_of_failures_is_a_number() -> None:
    """A process that fails for days computes a finite wait."""
    longest = jittered_wait(10_000, base_seconds=1, random=lambda: 1.0)
    assert longest == jittered_wait(11, base_seconds=1, random=lambda: 1.0) == 1_024


def test_waits_differ_between_processes() -> None:
    """The default source is random, so processes that failed together retry apart."""
    assert len({jittered_wait(1, base_seconds=1) for _ in range(10)}) > 1
