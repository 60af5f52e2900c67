"""What the planner makes of the rows: whose turn it is, and how all tokens are doing."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import READERS_SECONDS
from plan_refresh.planning import PlannedUnit, failure_of, is_replaced, planned_units, token_health

NOW = 1_800_000_000


def runner(name: str = "trainer", *, life: int | None = 500, **changes: Any) -> RunnerRow:
    """A runner that fell due just now, with a token of 900 seconds that has `life` left."""
    expires_at = None if life is None else NOW + life
    values: dict[str, Any] = {
        "project": "payments",
        "client": "scheduler",
        "revision": "request-1",
        "generation": 1,
        "deadline": NOW if expires_at is None else expires_at,
        "created_at": "2027-01-15T08:00:00.000Z",
        "updated_at": "2027-01-15T08:00:00.000Z",
        "shard": "07",
        "due_at": NOW,
        "lifetime": None if life is None else 900,
        "expires_at": expires_at,
        **changes,
    }
    return RunnerRow(runner=name, **values)


def test_unit_whose_token_dies_first_is_first() -> None:
    """Work units are sorted by their earliest deadline, whatever order the rows come in."""
    late = runner("a", project="late", life=400)
    urgent = [runner("b", project="urgent", life=390), runner("c", project="urgent", life=20)]
    units = planned_units([late, *urgent], now=NOW)
    assert [due.work_unit.project for due in units] == ["urgent", "late"]
    assert [(due.deadline, due.runners) for due in units] == [(NOW + 20, 2), (NOW + 400, 1)]


@pytest.mark.parametrize(("age", "oldest"), [(0, 0), (75, 75), (-20, 0)])
def test_age_counts_from_when_a_runner_fell_due(age: int, oldest: int) -> None:
    """The oldest of those that are due; what is due next is not late yet."""
    rows = [runner("a", due_at=NOW - age), runner("b", due_at=NOW + 5)]
    assert token_health(rows, now=NOW).oldest_due_age == oldest


@pytest.mark.parametrize(
    ("lifetime", "least_life"),
    [(900, READERS_SECONDS), (660, READERS_SECONDS), (330, READERS_SECONDS // 2)],
)
def test_token_is_within_its_margin_once_readers_lack_their_part(
    lifetime: int, least_life: int
) -> None:
    """What is spent between falling due and being replaced is no trouble; what readers need is."""
    enough = runner(life=least_life, lifetime=lifetime)
    assert token_health([enough], now=NOW).within_margin == 0
    too_little = runner(life=least_life - 1, lifetime=lifetime)
    assert token_health([too_little], now=NOW).within_margin == 1


@pytest.mark.parametrize(("life", "expired"), [(1, 0), (0, 1), (-500, 1)])
def test_token_is_expired_from_its_last_second_on(life: int, expired: int) -> None:
    """And is not counted within its margin beside that."""
    state = token_health([runner(life=life)], now=NOW)
    assert (state.expired, state.within_margin) == (expired, 1 - expired)
    assert state.least_life == life


def test_runner_without_a_token_is_waiting_and_has_no_life() -> None:
    """It is counted apart: nobody uses a token that is not there."""
    state = token_health([runner(life=None)], now=NOW)
    assert (state.waiting_for_first, state.expired, state.least_life) == (1, 0, None)


@pytest.mark.parametrize(("writes", "slots", "busiest"), [(155, 2, 78), (90, 1, 90), (91, 1, 91)])
def test_writes_are_counted_for_the_busiest_secret(writes: int, slots: int, busiest: int) -> None:
    """Secrets are written in turn: a runner with two of them writes each every other time."""
    rows = [runner(window_writes=writes, slots=slots), runner("quiet")]
    assert token_health(rows, now=NOW).most_writes_per_secret == busiest


def test_deleted_runner_is_planned_and_not_counted() -> None:
    """A deleted runner's secrets are deleted, and its last token is not counted in any metric."""
    deleted = runner(life=-900, deleted_at=NOW)
    assert len(planned_units([deleted], now=NOW)) == 1
    assert token_health([deleted], now=NOW) == token_health([], now=NOW)


# Where more is due than there is time for


def fleet(project: str, *lives: int, **changes: Any) -> list[RunnerRow]:
    """Runners of one unit, with so much life left."""
    return [
        runner(f"{project}-{number}", project=project, life=life, **changes)
        for number, life in enumerate(lives)
    ]


def chosen(rows: list[RunnerRow], *, writes: int) -> dict[str, tuple[int, int | None]]:
    """For each project how many runners this tick is for, and the last deadline from now."""
    units = planned_units(rows, now=NOW, writes=writes)
    return {
        due.work_unit.project: (due.runners, None if due.up_to is None else due.up_to - NOW)
        for due in units
    }


def test_tick_with_time_for_all_leaves_nobody_out() -> None:
    """One more than that, and the latest deadline of all waits for the next tick."""
    rows = [*fleet("a", 10, 30), *fleet("b", 20, 40)]
    assert chosen(rows, writes=4) == {"a": (2, None), "b": (2, None)}
    assert chosen(rows, writes=3) == {"a": (2, None), "b": (1, 20)}


def test_unit_with_late_deadlines_alone_waits() -> None:
    """It has no message at all."""
    assert chosen([*fleet("a", 10, 20), *fleet("b", 30)], writes=2) == {"a": (2, None)}


def test_first_tokens_and_sweeps_take_nobody_s_place() -> None:
    """Their units are sent, for them alone where nothing else of them has its turn."""
    rows = [
        *fleet("a", 10, 20),
        *fleet("new", 30),
        runner("first", project="new", life=None),
        *fleet("gone", 40),
        runner("deleted", project="gone", life=-900, deleted_at=NOW),
    ]
    assert chosen(rows, writes=2) == {"a": (2, None), "new": (1, -NOW), "gone": (1, -NOW)}


def test_dead_issuer_takes_no_write_of_those_who_are_well() -> None:
    """Its runners' deadlines are always the earliest: they share among themselves."""
    dead = fleet("dead", *range(-20, 0), attempts=9)
    assert chosen([*dead, *fleet("well", 5, 6, 7)], writes=16) == {
        "dead": (16, -5),
        "well": (3, None),
    }


def test_trouble_that_lasts_takes_no_write_of_new_trouble() -> None:
    """Dead for more than an hour: whoever begins to fail now has another chance."""
    lasting = fleet("lasting", *range(-3_620, -3_600), attempts=9)
    new = fleet("new", -3_600, attempts=9)
    assert chosen([*lasting, *new], writes=8) == {"lasting": (8, -3_613), "new": (1, None)}


def test_unit_in_trouble_takes_an_eighth_until_the_others_had_theirs() -> None:
    """What they leave is for the earliest deadlines again."""
    big = fleet("big", *range(-40, 0), attempts=1)
    others = [row for n in range(3) for row in fleet(f"small-{n}", 10 + n, 20 + n, attempts=1)]
    assert chosen([*big, *others], writes=16) == {
        "big": (10, -31),
        "small-0": (2, None),
        "small-1": (2, None),
        "small-2": (2, None),
    }


def test_after_an_outage_the_earliest_deadlines_of_all_come_first() -> None:
    """Alive or not: all have failed."""
    rows = [
        row for n in range(10) for row in fleet(f"p{n}", *range(n - 60, n + 60, 10), attempts=5 + n)
    ]
    deadlines = sorted(row.deadline for row in rows)
    units = planned_units(rows, now=NOW, writes=50)
    assert sum(due.runners for due in units) == 50
    assert max(due.up_to or 0 for due in units) == deadlines[49]


LIVES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]),
        st.one_of(st.none(), st.integers(-8_000, 1_000)),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=60,
)


@given(LIVES, st.integers(8, 40))
def test_ticks_choose_the_earliest_and_no_more_than_they_can(
    lives: list[tuple[str, int | None, int, bool]], writes: int
) -> None:
    """Whatever is due: a unit's first deadlines, no more of a kind than there is time for."""
    rows = [
        runner(
            f"r{number}",
            project=project,
            life=life,
            attempts=attempts,
            deleted_at=NOW if is_deleted else None,
        )
        for number, (project, life, attempts, is_deleted) in enumerate(lives)
    ]
    units = planned_units(rows, now=NOW, writes=writes)
    meant = {due.work_unit.project: due for due in units}
    assert len(meant) == len(units), "a unit is sent once"
    counted: Counter[str] = Counter()
    for project in {row.project for row in rows}:
        counted += _counted(
            [row for row in rows if row.project == project], meant.get(project), now=NOW
        )
    for trouble in ("none", "new", "lasting"):
        all_of_it = counted[f"all {trouble}"]
        assert counted[f"chosen {trouble}"] == min(all_of_it, writes)


def _counted(rows: list[RunnerRow], due: PlannedUnit | None, *, now: int) -> Counter[str]:
    """How many of a unit's rows there are of its kind, and how many were chosen."""
    replaced = sorted((row for row in rows if is_replaced(row)), key=lambda row: row.deadline)
    others = len(rows) - len(replaced)
    assert due is not None or not others, "first tokens and sweeps are never left out"
    chosen = due.runners - others if due else 0
    if due is not None and chosen < len(replaced):
        assert due.up_to == (replaced[chosen - 1].deadline if chosen else 0)
    elif due is not None:
        assert due.up_to is None
    trouble = failure_of(replaced, now=now)
    return Counter({f"all {trouble}": len(replaced), f"chosen {trouble}": chosen})


# Where workers die


def test_unit_has_a_second_message_for_what_its_first_one_is_for() -> None:
    """Up to the last deadline of those chosen: whoever falls due meanwhile is the next tick's."""
    (due,) = planned_units([*fleet("a", 300), *fleet("a", 310)], now=NOW)
    assert (due.up_to, due.repeat_up_to) == (None, NOW + 310)


def test_second_message_is_for_no_more_than_the_first() -> None:
    """Where a tick has no time for all of a unit, neither message is for the rest."""
    rows = [runner(f"r-{life}", life=life) for life in (300, 310, 320)]
    (due,) = planned_units(rows, now=NOW, writes=2)
    assert (due.up_to, due.repeat_up_to) == (NOW + 310, NOW + 310)


@pytest.mark.parametrize(
    "rows",
    [
        [runner("a", life=100, attempts=1)],
        [runner("a", life=100), runner("b", life=300, attempts=1)],
        [runner("a", life=None)],
    ],
)
def test_unit_without_a_second_message(rows: list[RunnerRow]) -> None:
    """After a failure it is known when to try again; a first token has nothing that could end."""
    (due,) = planned_units(rows, now=NOW)
    assert due.repeat_up_to is None
