"""The write limiter: never more writes in any second than the rate."""

import time
from threading import Thread, local

import pytest

from refresh_tokens.token_writer import WriteLimiter
from stand_ins.clock import Clock
from stand_ins.rates import busiest
from stand_ins.refusal import RATE_EXCEEDED
from tests.refresh.world import new_world


class SlowSleeper:
    """A clock that sleeping moves, sometimes by more than was asked for."""

    def __init__(self, *overslept: float) -> None:
        self.clock = Clock(0)
        self._overslept = list(overslept)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        late = self._overslept.pop(0) if self._overslept else 0
        self.clock.advance(seconds + late)


def test_writes_are_spaced_evenly() -> None:
    """The first write does not wait."""
    sleeper = SlowSleeper()
    limiter = WriteLimiter(20, now=sleeper.clock, sleep=sleeper.sleep)
    times = []
    for _ in range(5):
        limiter.wait()
        times.append(sleeper.clock())
    assert times == pytest.approx([0, 0.05, 0.1, 0.15, 0.2], abs=1e-4)


def test_no_burst_follows_a_pause() -> None:
    """After an hour without writes the rate is the same."""
    sleeper = SlowSleeper()
    limiter = WriteLimiter(20, now=sleeper.clock, sleep=sleeper.sleep)
    limiter.wait()
    sleeper.clock.advance(3_600)
    times = []
    for _ in range(40):
        limiter.wait()
        times.append(sleeper.clock())
    assert busiest(times, span=1) == 20


@pytest.mark.parametrize("late", [0.001, 0.03, 0.2, 2.0])
def test_no_burst_follows_a_late_thread(late: float) -> None:
    """A thread that wakes up late delays the next ones."""
    sleeper = SlowSleeper(0, 0, late, 0, late)
    limiter = WriteLimiter(20, now=sleeper.clock, sleep=sleeper.sleep)
    times = []
    for _ in range(60):
        limiter.wait()
        times.append(sleeper.clock())
    assert busiest(times, span=1) == 20


@pytest.mark.parametrize("writes_per_second", [20, 50])
def test_threads_share_the_rate(writes_per_second: int) -> None:
    """In each second of two seconds of real threads, and close to the rate."""
    seen = local()
    times: list[float] = []

    def now() -> float:
        seen.last = last = time.monotonic()
        return last

    limiter = WriteLimiter(writes_per_second, now=now, sleep=time.sleep)

    def write() -> None:
        limiter.wait()
        times.append(seen.last)

    threads = [Thread(target=write) for _ in range(2 * writes_per_second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert busiest(times, span=1) <= writes_per_second
    assert max(times) - min(times) < 10


@pytest.mark.parametrize("operation", ["CreateSecret", "PutSecretValue"])
def test_retries_of_botocore_keep_the_rate(operation: str) -> None:
    """A throttled write that is repeated at once would use another worker's share."""
    with new_world() as world:
        rows = world.register_all(f"runner-{number}" for number in range(6))
        if operation == "PutSecretValue":
            world.worker().refresh(rows[0].work_unit)
            world.clock.advance(600)
        sleeper = SlowSleeper()
        world.aws.faults.follow(operation, *[RATE_EXCEEDED] * 4)
        worker = world.worker(
            pace=WriteLimiter(5, now=sleeper.clock, sleep=sleeper.sleep),
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        worker.refresh(rows[0].work_unit)
        writes = world.aws.count("CreateSecret") + world.aws.count("PutSecretValue")
        assert world.aws.count(operation, "ThrottlingException") == 4
        before = 6 if operation == "PutSecretValue" else 0
        assert sleeper.clock() == pytest.approx((writes - before - 1) / 5, rel=0.01)
