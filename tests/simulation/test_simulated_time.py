"""The parts of the simulation: time, processes, a fleet, and the quotas of AWS."""

from random import Random

import pytest

from byline.refresh.timing import DAY_SECONDS, MintedToken
from simulation.fleet import aged_row, fleet, project_sizes
from simulation.scenario import Scenario
from simulation.secret_versions import SecretVersions, WriteQuota
from simulation.threads import Turnstile
from simulation.timeline import Died, Timeline
from simulation.token_index import TokenIndex

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


def test_a_deleted_secret_gives_its_place_to_a_new_one() -> None:
    """A new secret has none of the versions of the deleted secret whose place it takes."""
    secrets = SecretVersions()
    for generation in range(100):
        secrets.put("old", TOKEN, generation=generation, now=0)
    secrets.delete("old")
    assert secrets.newest("old") is None
    assert secrets.put("new", TOKEN, generation=1, now=0) is TOKEN
    assert secrets.newest("new") is TOKEN


def test_a_fleet_has_few_large_projects_and_many_small() -> None:
    """The largest project has 12 % of all tokens, and half of the projects have two or fewer."""
    sizes = list(project_sizes(20_000))
    assert sum(sizes) == 20_000
    assert sizes[0] == 2_400
    assert sizes[len(sizes) // 2] <= 2


def test_runners_of_a_fleet_are_counts_that_sum_up() -> None:
    """A million runners are one number for each token; half of the tokens have one runner."""
    asked = fleet(Scenario.named("1000000on20000x900"), Random(1))  # noqa: S311
    assert len(set(asked.keys)) == len(asked.runners) == 20_000
    assert sum(asked.runners) == 1_000_000
    assert sorted(asked.runners)[9_999] == 1
    assert all(key.isolated_for is None for key in asked.keys)


def test_isolated_runners_have_a_token_each() -> None:
    """In a fleet without sharing, each token is for one runner alone."""
    asked = fleet(Scenario.named("50x900"), Random(1))  # noqa: S311
    assert set(asked.runners) == {1}
    assert len({(key.project, key.isolated_for) for key in asked.keys}) == 50


@pytest.mark.parametrize("name", ["1000on20x900", "1000x900"])
def test_the_name_of_a_fleet_is_read_as_written(name: str) -> None:
    """A fleet's section on the page has the name that the command takes."""
    assert Scenario.named(name).name == name


def test_the_index_returns_a_row_from_its_due_second_on() -> None:
    """A row is not due a second before, and is due at its second, until it is removed."""
    scenario, random = Scenario.named("10x900"), Random(1)  # noqa: S311
    keys = fleet(scenario, random).keys
    rows = [aged_row(key, scenario, random, number=n) for n, key in enumerate(keys)]
    index = TokenIndex(rows)
    first = min(rows, key=lambda row: row.due_at or 0)
    due_at = first.due_at or 0
    assert first not in index.due(first.work_unit, now=due_at - 1)
    assert first in index.due(first.work_unit, now=due_at)
    assert first in index.all_due(now=due_at)
    index.remove(first)
    assert first not in index.all_due(now=due_at)
