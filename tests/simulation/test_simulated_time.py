"""The parts of the simulation: time, processes, a fleet, and the quotas of AWS."""

from random import Random

import pytest

from byline.refresh.timing import DAY_SECONDS, MintedToken
from simulation.fleet import fleet, project_sizes
from simulation.runner_index import RunnerIndex
from simulation.secret_versions import SecretVersions, WriteQuota
from simulation.threads import Turnstile
from simulation.timeline import Died, Timeline

TOKEN = MintedToken(text="", issued_at=0, lifetime=900)


def test_processes_run_in_the_order_of_time() -> None:
    """The process with the shorter wait continues first, whichever was started first."""
    timeline, seen = Timeline(), list[tuple[str, float]]()

    def process(name: str, *waits: float) -> None:
        for wait in waits:
            timeline.wait(wait)
            seen.append((name, timeline.now))

    timeline.start(lambda: process("slow", 3, 3))
    timeline.start(lambda: process("quick", 2, 2), after=1)
    timeline.run(6)
    assert seen == [("slow", 3), ("quick", 3), ("quick", 5)]


def test_gather_returns_when_the_last_process_has_ended_or_died() -> None:
    """A process that died counts as ended, so the caller does not wait for ever."""
    timeline, ended = Timeline(), list[float]()

    def die() -> None:
        timeline.wait(1)
        raise Died

    def process() -> None:
        timeline.gather([lambda: timeline.wait(2), die, lambda: timeline.wait(3)])
        ended.append(timeline.now)

    timeline.start(process)
    timeline.run(10)
    assert ended == [3]


def test_a_turnstile_lets_one_through_at_a_time_in_order() -> None:
    """The lock is free again when the process that holds it dies."""
    timeline, passed = Timeline(), list[tuple[str, float]]()
    turnstile = Turnstile(timeline)

    def process(name: str) -> None:
        with turnstile.passing():
            timeline.wait(1)
            passed.append((name, timeline.now))
            if name == "first":
                raise Died

    for name in ("first", "second", "third"):
        timeline.start(lambda name=name: process(name))  # type: ignore[misc]
    timeline.run(10)
    assert passed == [("first", 1), ("second", 2), ("third", 3)]


def test_the_hundredth_version_is_made_and_the_next_refused() -> None:
    """AWS keeps a hundred versions, and refuses one more while all are younger than a day."""
    secrets = SecretVersions()
    made = [secrets.put("s", TOKEN, generation=n, now=n) for n in range(101)]
    assert made == [TOKEN] * 100 + [None]
    assert (secrets.most_in_a_day, secrets.limit_exceeded) == (100, 1)


@pytest.mark.parametrize(("age", "made"), [(DAY_SECONDS - 1, None), (DAY_SECONDS, TOKEN)])
def test_a_version_makes_room_when_it_is_a_day_old(age: int, made: MintedToken | None) -> None:
    """At a day's age the oldest version is removed, a second before it is not."""
    secrets = SecretVersions()
    for generation in range(100):
        secrets.put("s", TOKEN, generation=generation, now=0)
    assert secrets.put("s", TOKEN, generation=100, now=age) == made


def test_a_generation_that_is_put_twice_keeps_the_first_token() -> None:
    """The version token makes the second put return the first token, without a new version."""
    secrets = SecretVersions()
    secrets.put("s", TOKEN, generation=1, now=0)
    other = MintedToken(text="", issued_at=60, lifetime=900)
    assert secrets.put("s", other, generation=1, now=60) is TOKEN
    assert secrets.most_in_a_day == 1


def test_the_account_takes_fifty_writes_in_any_second() -> None:
    """The fifty-first write is accepted a second after the first."""
    quota = WriteQuota()
    assert all(quota.admit(number / 100) for number in range(50))
    assert not quota.admit(0.99)
    assert quota.admit(1.0)
    assert quota.throttled == 1


def test_a_throttled_write_that_is_retried_is_accepted() -> None:
    """It is accepted when a second has passed since the fiftieth write before it."""
    quota = WriteQuota()
    assert {quota.admit_later(0) for _ in range(50)} == {0}
    assert quota.admit_later(0.5) == 1
    assert quota.throttled == 1


def test_a_fleet_has_few_large_projects_and_many_small() -> None:
    """The largest project has 12 % of all runners, and half of the projects have two or fewer."""
    sizes = list(project_sizes(20_000))
    assert sum(sizes) == 20_000
    assert sizes[0] == 2_400
    assert sizes[len(sizes) // 2] <= 2


def test_the_index_returns_a_row_from_its_due_second_on() -> None:
    """A row is not due a second before, and is due at its second."""
    rows = fleet(10, lifetime=900, random=Random(1))  # noqa: S311
    index = RunnerIndex(rows)
    first = min(rows, key=lambda row: row.due_at or 0)
    due_at = first.due_at or 0
    assert first not in index.due(first.work_unit, now=due_at - 1)
    assert first in index.due(first.work_unit, now=due_at)
    assert first in index.all_due(now=due_at)
