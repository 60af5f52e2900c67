"""A bounded cache whose values expire, and one call for concurrent misses."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from byline.caching import BoundedCache, SingleFlight
from tests.identity.alb_tokens import NOW, SetClock


def test_value_lives_until_its_time_and_not_at_it() -> None:
    """`until` is the first moment at which a value no longer counts."""
    clock = SetClock()
    cache: BoundedCache[str, int] = BoundedCache(2, now=clock)
    cache.put("a", 1, until=NOW + 10)
    clock.time = NOW + 9.999
    assert cache.get("a") == 1
    clock.time = NOW + 10
    assert cache.get("a") is None
    assert len(cache) == 0


def test_full_cache_forgets_the_least_recently_used() -> None:
    """What is asked for stays."""
    cache: BoundedCache[str, int] = BoundedCache(2, now=SetClock())
    cache.put("a", 1, until=NOW + 10)
    cache.put("b", 2, until=NOW + 10)
    assert cache.get("a") == 1
    cache.put("c", 3, until=NOW + 10)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_value_put_again_replaces_the_old_one() -> None:
    """A key has one value, and the new time counts."""
    clock = SetClock()
    cache: BoundedCache[str, int] = BoundedCache(2, now=clock)
    cache.put("a", 1, until=NOW + 10)
    cache.put("a", 2, until=NOW + 20)
    clock.time = NOW + 15
    assert cache.get("a") == 2
    assert len(cache) == 1


def test_discarded_value_is_gone() -> None:
    """Discarding what is not there is harmless."""
    cache: BoundedCache[str, int] = BoundedCache(2, now=SetClock())
    cache.put("a", 1, until=NOW + 10)
    cache.discard("a")
    cache.discard("a")
    assert cache.get("a") is None


def test_cache_stays_bounded_under_eight_threads() -> None:
    """Threads that put and get at once neither break the cache nor outgrow it."""
    cache: BoundedCache[int, int] = BoundedCache(16, now=SetClock())

    def work(seed: int) -> None:
        for i in range(2_000):
            number = (seed * 7 + i) % 40
            cache.put(number, number, until=NOW + 10)
            assert cache.get(number) in (None, number)
            cache.discard((number + 1) % 40)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert len(cache) <= 16


def test_work_for_one_key_never_runs_at_the_same_time() -> None:
    """Alone for its key, one after the other."""
    flights: SingleFlight[str] = SingleFlight()
    under_way: list[int] = []
    most_at_once: list[int] = []
    start = Barrier(8)

    def work() -> None:
        under_way.append(1)
        most_at_once.append(len(under_way))
        under_way.pop()

    def run(_: int) -> None:
        start.wait(5)
        for _ in range(200):
            flights.run("key", work)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, range(8)))
    assert max(most_at_once) == 1
    assert len(most_at_once) == 1_600


def test_work_for_two_keys_runs_at_the_same_time() -> None:
    """A slow key does not delay another key: both works run at once."""
    flights: SingleFlight[str] = SingleFlight()
    meeting = Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        for run in [threads.submit(flights.run, key, lambda: meeting.wait(5)) for key in "ab"]:
            run.result(5)


def test_work_that_fails_lets_the_next_one_in() -> None:
    """An error goes to who ran the work, and leaves no lock behind."""
    flights: SingleFlight[str] = SingleFlight()

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        flights.run("key", fail)
    assert flights.run("key", lambda: "done") == "done"
