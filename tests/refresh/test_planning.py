"""The planner's decisions: the work units of a tick, and the health of all tokens."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byline.refresh.timing import READERS_SECONDS
from byline.refresh.token_rows import TokenRow
from plan_refresh.planning import PlannedUnit, failure_of, is_replaced, planned_units, token_health

NOW = 1_800_000_000


def token(name: str = "trainer", *, life: int | None = 500, **changes: Any) -> TokenRow:
    """A token of 900 seconds that is due now and has `life` seconds left; None: it is new."""
    expires_at = None if life is None else NOW + life
    values: dict[str, Any] = {
        "project": "payments",
        "client": "scheduler",
        "generation": 1,
        "runners": 1,
        "deadline": NOW if expires_at is None else expires_at,
        "created_at": "2027-01-15T08:00:00.000Z",
        "shard": "07",
        "due_at": NOW,
        "lifetime": None if life is None else 900,
        "expires_at": expires_at,
        **changes,
    }
    return TokenRow(id=name, **values)


def test_work_unit_with_the_earliest_deadline_is_first() -> None:
    """Work units are sorted by their earliest deadline, whatever order the rows come in."""
    late = token("a", project="late", life=400)
    urgent = [token("b", project="urgent", life=390), token("c", project="urgent", life=20)]
    units = planned_units([late, *urgent], now=NOW)
    assert [due.work_unit.project for due in units] == ["urgent", "late"]
    assert [(due.deadline, due.tokens) for due in units] == [(NOW + 20, 2), (NOW + 400, 1)]


@pytest.mark.parametrize(("age", "oldest"), [(0, 0), (75, 75), (-20, 0)])
def test_oldest_due_age_counts_from_when_a_token_fell_due(age: int, oldest: int) -> None:
    """A token that is due in the future has no age."""
    rows = [token("a", due_at=NOW - age), token("b", due_at=NOW + 5)]
    assert token_health(rows, now=NOW).oldest_due_age == oldest


@pytest.mark.parametrize(
    ("lifetime", "least_life"),
    [(900, READERS_SECONDS), (660, READERS_SECONDS), (330, READERS_SECONDS // 2)],
)
def test_token_is_within_its_margin_when_readers_lack_their_part(
    lifetime: int, least_life: int
) -> None:
    """The rest of the margin may pass between falling due and being replaced."""
    enough = token(life=least_life, lifetime=lifetime)
    assert token_health([enough], now=NOW).within_margin == 0
    too_little = token(life=least_life - 1, lifetime=lifetime)
    assert token_health([too_little], now=NOW).within_margin == 1


@pytest.mark.parametrize(("life", "expired"), [(1, 0), (0, 1), (-500, 1)])
def test_token_is_expired_from_its_last_second(life: int, expired: int) -> None:
    """An expired token is not counted within its margin too."""
    state = token_health([token(life=life)], now=NOW)
    assert (state.expired, state.within_margin) == (expired, 1 - expired)
    assert state.least_life == life


def test_token_that_was_never_minted_is_counted_as_waiting() -> None:
    """It has no remaining life, and is not counted as expired."""
    state = token_health([token(life=None)], now=NOW)
    assert (state.waiting_for_first, state.expired, state.least_life) == (1, 0, None)


@pytest.mark.parametrize(("writes", "slots", "busiest"), [(155, 2, 78), (90, 1, 90), (91, 1, 91)])
def test_writes_are_counted_for_the_busiest_secret(writes: int, slots: int, busiest: int) -> None:
    """Secrets are written in turn, so each of two secrets gets half of the writes, rounded up."""
    rows = [token(window_writes=writes, slots=slots), token("quiet")]
    assert token_health(rows, now=NOW).most_writes_per_secret == busiest


def test_retired_token_is_planned_and_not_counted() -> None:
    """It is planned for its sweep, and is in no metric."""
    retired = token(life=-900, retired_at=NOW)
    assert len(planned_units([retired], now=NOW)) == 1
    assert token_health([retired], now=NOW) == token_health([], now=NOW)


# More due tokens than writes


def fleet(project: str, *lives: int, **changes: Any) -> list[TokenRow]:
    """Tokens of one work unit with these lives left."""
    return [
        token(f"{project}-{number}", project=project, life=life, **changes)
        for number, life in enumerate(lives)
    ]


def chosen(rows: list[TokenRow], *, writes: int) -> dict[str, tuple[int, int | None]]:
    """By project, how many tokens are chosen, and their last deadline from now."""
    units = planned_units(rows, now=NOW, writes=writes)
    return {
        due.work_unit.project: (due.tokens, None if due.up_to is None else due.up_to - NOW)
        for due in units
    }


def test_tick_plans_all_tokens_up_to_its_writes() -> None:
    """With one token more than writes, the latest deadline waits for the next tick."""
    rows = [*fleet("a", 10, 30), *fleet("b", 20, 40)]
    assert chosen(rows, writes=4) == {"a": (2, None), "b": (2, None)}
    assert chosen(rows, writes=3) == {"a": (2, None), "b": (1, 20)}


def test_work_unit_without_a_chosen_token_is_left_out() -> None:
    """A work unit whose deadlines are all too late gets no message."""
    assert chosen([*fleet("a", 10, 20), *fleet("b", 30)], writes=2) == {"a": (2, None)}


def test_new_tokens_and_sweeps_are_planned_beside_the_writes() -> None:
    """Their work units are planned even if no other token of them is chosen."""
    rows = [
        *fleet("a", 10, 20),
        *fleet("new", 30),
        token("first", project="new", life=None),
        *fleet("gone", 40),
        token("retired", project="gone", life=-900, retired_at=NOW),
    ]
    assert chosen(rows, writes=2) == {"a": (2, None), "new": (1, -NOW), "gone": (1, -NOW)}


def test_failing_work_units_take_no_writes_of_others() -> None:
    """Tokens of an issuer that is down always have the earliest deadlines."""
    dead = fleet("dead", *range(-20, 0), attempts=9)
    assert chosen([*dead, *fleet("well", 5, 6, 7)], writes=16) == {
        "dead": (16, -5),
        "well": (3, None),
    }


def test_lasting_failures_take_no_writes_of_new_failures() -> None:
    """A token that has been expired for over an hour no longer competes with others."""
    lasting = fleet("lasting", *range(-3_620, -3_600), attempts=9)
    new = fleet("new", -3_600, attempts=9)
    assert chosen([*lasting, *new], writes=8) == {"lasting": (8, -3_613), "new": (1, None)}


def test_failing_work_unit_gets_an_eighth_before_the_others_have_theirs() -> None:
    """Writes that the other failing work units leave go to the earliest deadlines again."""
    big = fleet("big", *range(-40, 0), attempts=1)
    others = [row for n in range(3) for row in fleet(f"small-{n}", 10 + n, 20 + n, attempts=1)]
    assert chosen([*big, *others], writes=16) == {
        "big": (10, -31),
        "small-0": (2, None),
        "small-1": (2, None),
        "small-2": (2, None),
    }


def test_after_an_outage_the_earliest_deadlines_of_all_come_first() -> None:
    """After an outage all work units are failing, with live tokens and expired ones."""
    rows = [
        row for n in range(10) for row in fleet(f"p{n}", *range(n - 60, n + 60, 10), attempts=5 + n)
    ]
    deadlines = sorted(row.deadline for row in rows)
    units = planned_units(rows, now=NOW, writes=50)
    assert sum(due.tokens for due in units) == 50
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
def test_tick_chooses_the_earliest_deadlines_up_to_its_writes(
    lives: list[tuple[str, int | None, int, bool]], writes: int
) -> None:
    """For any rows: the first deadlines of each work unit, within the writes of each kind."""
    rows = [
        token(
            f"r{number}",
            project=project,
            life=life,
            attempts=attempts,
            retired_at=NOW if is_retired else None,
        )
        for number, (project, life, attempts, is_retired) in enumerate(lives)
    ]
    units = planned_units(rows, now=NOW, writes=writes)
    meant = {due.work_unit.project: due for due in units}
    assert len(meant) == len(units), "a work unit is planned once"
    counted: Counter[str] = Counter()
    for project in {row.project for row in rows}:
        counted += _counted(
            [row for row in rows if row.project == project], meant.get(project), now=NOW
        )
    for trouble in ("none", "new", "lasting"):
        all_of_it = counted[f"all {trouble}"]
        assert counted[f"chosen {trouble}"] == min(all_of_it, writes)


def _counted(rows: list[TokenRow], due: PlannedUnit | None, *, now: int) -> Counter[str]:
    """How many rows of a work unit there are, and how many were chosen, by kind of failure."""
    replaced = sorted((row for row in rows if is_replaced(row)), key=lambda row: row.deadline)
    others = len(rows) - len(replaced)
    assert due is not None or not others, "new tokens and sweeps are never left out"
    chosen = due.tokens - others if due else 0
    if due is not None and chosen < len(replaced):
        assert due.up_to == (replaced[chosen - 1].deadline if chosen else 0)
    elif due is not None:
        assert due.up_to is None
    trouble = failure_of(replaced, now=now)
    return Counter({f"all {trouble}": len(replaced), f"chosen {trouble}": chosen})


# Second messages


def test_second_message_means_the_tokens_of_the_first() -> None:
    """Up to the last deadline that was chosen; tokens that fall due later wait for a tick."""
    (due,) = planned_units([*fleet("a", 300), *fleet("a", 310)], now=NOW)
    assert (due.up_to, due.repeat_up_to) == (None, NOW + 310)


def test_second_message_means_no_more_tokens_than_the_first() -> None:
    """If a tick has no time for the whole work unit, both messages leave out the rest."""
    rows = [token(f"r-{life}", life=life) for life in (300, 310, 320)]
    (due,) = planned_units(rows, now=NOW, writes=2)
    assert (due.up_to, due.repeat_up_to) == (NOW + 310, NOW + 310)


@pytest.mark.parametrize(
    "rows",
    [
        [token("a", life=100, attempts=1)],
        [token("a", life=100), token("b", life=300, attempts=1)],
        [token("a", life=None)],
    ],
)
def test_failing_or_new_work_unit_has_no_second_message(rows: list[TokenRow]) -> None:
    """A failed row has its own retry time, and a new token has no deadline to keep."""
    (due,) = planned_units(rows, now=NOW)
    assert due.repeat_up_to is None
