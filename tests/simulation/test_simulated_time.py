"""The ground that the simulation stands on: time, processes, a fleet, and AWS's limits."""

from random import Random

import pytest

from byline.refresh.timing import DAY_SECONDS, MintedToken
from simulation.fleet import fleet, project_sizes
from simulation.runner_index import RunnerIndex
from simulation.secret_versions import SecretVersions, WriteQuota
from simulation.timeline import Died, Timeline, Turnstile

TOKEN = MintedToken(text="", issued_at=0, lifetime=900)


def test_processes_run_in_the_order_of_time() -> None:
    """Whoever waits for less goes on first, whoever was started first."""
    timeline, seen = Timeline(), list[tuple[str, float]]()

    def process(name: str, *waits: float) -> None:
        for wait in waits:
            timeline.wait(wait)
            seen.append((name, timeline.now))

    timeline.start(lambda: process("slow", 3, 3))
    timeline.start(lambda: process("quick", 2, 2), after=1)
    timeline.run(6)
    assert seen == [("slow", 3), ("quick", 3), ("quick", 5)]


def test_gathering_waits_for_the_last_and_survives_the_dead() -> None:
    """One that dies is as good as one that ended: nobody waits for it."""
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
    """Also where the one before dies in it."""
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
    """AWS keeps a hundred versions, and every one that is younger than a day."""
    secrets = SecretVersions()
    made = [secrets.put("s", TOKEN, generation=n, now=n) for n in range(101)]
    assert made == [TOKEN] * 100 + [None]
    assert (secrets.most_in_a_day, secrets.limit_exceeded) == (100, 1)


@pytest.mark.parametrize(("age", "made"), [(DAY_SECONDS - 1, None), (DAY_SECONDS, TOKEN)])
def test_a_version_goes_once_it_is_a_day_old(age: int, made: MintedToken | None) -> None:
    """And makes room for one more."""
    secrets = SecretVersions()
    for generation in range(100):
        secrets.put("s", TOKEN, generation=generation, now=0)
    assert secrets.put("s", TOKEN, generation=100, now=age) == made


def test_putting_a_generation_twice_finds_the_first() -> None:
    """As the version token makes it: what is there stays, and no version is spent."""
    secrets = SecretVersions()
    secrets.put("s", TOKEN, generation=1, now=0)
    other = MintedToken(text="", issued_at=60, lifetime=900)
    assert secrets.put("s", other, generation=1, now=60) is TOKEN
    assert secrets.most_in_a_day == 1


def test_the_account_takes_fifty_writes_in_any_second() -> None:
    """The fifty-first waits until a second after the first."""
    quota = WriteQuota()
    assert all(quota.admit(number / 100) for number in range(50))
    assert not quota.admit(0.99)
    assert quota.admit(1.0)
    assert quota.throttled == 1


def test_a_throttled_write_that_is_tried_again_gets_through() -> None:
    """As soon as a second has passed since the fiftieth before it."""
    quota = WriteQuota()
    assert {quota.admit_later(0) for _ in range(50)} == {0}
    assert quota.admit_later(0.5) == 1
    assert quota.throttled == 1


def test_a_fleet_has_few_large_projects_and_many_small() -> None:
    """All runners are there, the largest project has 12 % of them, half have two or fewer."""
    sizes = list(project_sizes(20_000))
    assert sum(sizes) == 20_000
    assert sizes[0] == 2_400
    assert sizes[len(sizes) // 2] <= 2


def test_the_index_holds_what_is_due_and_nothing_else() -> None:
    """A row comes with its second, and goes when it is put again with a later one."""
    rows = fleet(10, lifetime=900, random=Random(1))  # noqa: S311
    index = RunnerIndex(rows)
    first = min(rows, key=lambda row: row.due_at or 0)
    due_at = first.due_at or 0
    assert first not in index.due(first.work_unit, now=due_at - 1)
    assert first in index.due(first.work_unit, now=due_at)
    assert first in index.all_due(now=due_at)
