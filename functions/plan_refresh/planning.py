"""Which work units a tick is for, in which order, and the health of all tokens.

Pure functions: rows in, decisions out. `make simulate` runs them on simulated time. Only the
planner reads all due rows, so only it sees which deadlines are the earliest. It sends no more work
than can be written, and workers keep its order.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from byline.refresh.timing import (
    MARGIN_SECONDS,
    READERS_SECONDS,
    TICK_SECONDS,
    required_margin,
)
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import WorkUnit

REPEAT_SECONDS = TICK_SECONDS // 2
"""When a work unit's second message follows its first. It finds work only where the first message's
worker died or has not started. A lease that was taken at once has expired by then."""

WRITES_PER_SECOND = 40
"""The limit of all workers together: each worker's limit times the number of workers."""

PLANNED_SECONDS = 2 * TICK_SECONDS
"""How long the work of one tick lasts: past the next tick, because messages can be lost."""

WRITES_A_TICK = WRITES_PER_SECOND * PLANNED_SECONDS

FAILING_SHARE = 1 / 8
"""The part of a tick's writes for one failing work unit, until other failing ones have theirs."""

LASTING_SECONDS = 3_600
"""A failure is lasting once its token has been expired for this long."""

type Failure = Literal["none", "new", "lasting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUnit:
    """A work unit that a tick sends messages for. Times are seconds since the epoch.

    `deadline`: the earliest of its due tokens. `tokens`: how many of them are meant. `up_to`: the
    latest deadline that is replaced; None for all. `repeat_up_to`: the latest deadline that
    the second message means; None where no second message is sent.
    """

    work_unit: WorkUnit
    deadline: int
    tokens: int
    up_to: int | None
    repeat_up_to: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenHealth:
    """The state of all tokens at one moment, in seconds and numbers of tokens.

    It is computed from the rows alone, so it is right while the refresher fails. `least_life` is
    None where none was minted yet. `within_margin`: tokens whose life left is shorter than
    readers count on, but which have not expired.
    """

    oldest_due_age: int
    least_life: int | None
    within_margin: int
    expired: int
    waiting_for_first: int
    most_writes_per_secret: int
    due_units: int


def scheduled_time(event: Mapping[str, Any]) -> int | None:
    """The time that a tick was scheduled for, in seconds since the epoch; None without one.

    `template.yaml` has EventBridge Scheduler write it into the event:
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    try:
        at = datetime.fromisoformat(event["scheduled_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return None if at.tzinfo is None else int(at.timestamp())


def work_begins(*, scheduled: int | None, now: int) -> int:
    """When a tick's messages are delivered: `now` or up to a minute later, in seconds.

    The scheduler starts a tick up to 59 seconds late, so two ticks may be one second or two minutes
    apart. Work that begins a minute after the scheduled time is as regular as the schedule. A tick
    that is later than that, or was started by hand, is for now.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """
    if scheduled is None:
        return now
    return min(max(now, scheduled + TICK_SECONDS), now + TICK_SECONDS)


def planned_units(
    rows: Iterable[TokenRow], *, now: int, writes: int = WRITES_A_TICK
) -> list[PlannedUnit]:
    """The work units of the due `rows`, with the tokens that this tick is for, most urgent first.

    The tick's `writes` go to the earliest deadlines of all work units. Other tokens are due at the
    next tick, where their deadlines are earlier than the rest. First generations and sweeps of
    retired tokens are always included.
    """
    units: defaultdict[WorkUnit, list[TokenRow]] = defaultdict(list)
    for row in rows:
        units[row.work_unit].append(row)
    replaced = {
        unit: sorted((row for row in due if is_replaced(row)), key=lambda row: row.deadline)
        for unit, due in units.items()
    }
    chosen = _chosen_tokens(replaced, now=now, writes=writes)
    return sorted(
        (
            PlannedUnit(
                work_unit=unit,
                deadline=min(row.deadline for row in due),
                tokens=len(due) - len(replaced[unit]) + chosen[unit],
                up_to=_last_deadline(replaced[unit], chosen[unit]),
                repeat_up_to=_repeat_up_to(replaced[unit][: chosen[unit]], now=now),
            )
            for unit, due in units.items()
            if chosen[unit] or len(due) > len(replaced[unit])
        ),
        key=lambda planned: (planned.deadline, planned.work_unit),
    )


def is_replaced(row: TokenRow) -> bool:
    """Whether a refresh replaces a generation: the token is live and was minted before."""
    return row.is_live and row.expires_at is not None


def failure_of(rows: Sequence[TokenRow], *, now: int) -> Failure:
    """Whether a work unit's last refreshes failed, and if so for how long.

    `rows` are in the order of their deadlines.
    """
    for row in rows:
        if row.attempts:
            return "lasting" if row.deadline < now - LASTING_SECONDS else "new"
    return "none"


def token_health(rows: Iterable[TokenRow], *, now: int) -> TokenHealth:
    """The health of `rows`: all rows that are due, and the next due row of each shard.

    A token that is not due has its full margin left, so these rows stand for all tokens. A token
    that failed is due while it waits for its next attempt, once it has expired.
    """
    live = [row for row in rows if row.is_live]
    due_since = [
        (row.try_at, row.work_unit) for row in live if row.try_at is not None and row.try_at <= now
    ]
    lives = [row.expires_at - now for row in live if row.expires_at is not None]
    return TokenHealth(
        oldest_due_age=now - min((due_at for due_at, _ in due_since), default=now),
        least_life=min(lives, default=None),
        within_margin=sum(
            0 < row.expires_at - now < _readers_part(row.lifetime or 0)
            for row in live
            if row.expires_at is not None
        ),
        expired=sum(life <= 0 for life in lives),
        waiting_for_first=sum(row.expires_at is None for row in live),
        most_writes_per_secret=max(map(_writes_to_busiest, live), default=0),
        due_units=len({unit for _, unit in due_since}),
    )


def _chosen_tokens(
    units: Mapping[WorkUnit, Sequence[TokenRow]], *, now: int, writes: int
) -> dict[WorkUnit, int]:
    """The number of tokens of each work unit to refresh now, counted from the earliest deadline.

    Work units without failures, with new failures and with lasting failures get `writes` each:
    tokens of an issuer that is down always have the earliest deadlines, and would get all writes.
    After an outage all work units are failing, and the earliest deadlines of all come first.
    """
    kinds: defaultdict[Failure, dict[WorkUnit, Sequence[TokenRow]]] = defaultdict(dict)
    for unit, rows in units.items():
        kinds[failure_of(rows, now=now)][unit] = rows
    chosen: dict[WorkUnit, int] = {}
    for failure, alike in kinds.items():
        most_of_a_unit = writes if failure == "none" else int(writes * FAILING_SHARE)
        chosen |= _earliest(alike, writes=writes, most_of_a_unit=most_of_a_unit)
    return chosen


def _earliest(
    units: Mapping[WorkUnit, Sequence[TokenRow]], *, writes: int, most_of_a_unit: int
) -> dict[WorkUnit, int]:
    """The number of tokens of each work unit among the `writes` earliest deadlines."""
    if sum(map(len, units.values())) <= writes:
        return {unit: len(rows) for unit, rows in units.items()}
    order = sorted(units)
    entries = sorted(
        (row.deadline, number) for number, unit in enumerate(order) for row in units[unit]
    )
    chosen, left = [0] * len(order), writes
    passed_over: list[int] = []
    for _, number in entries:
        if chosen[number] == most_of_a_unit:
            passed_over.append(number)
            continue
        chosen[number] += 1
        left -= 1
        if not left:
            break
    for number in passed_over[:left]:
        chosen[number] += 1
    return dict(zip(order, chosen, strict=True))


def _last_deadline(rows: list[TokenRow], chosen: int) -> int | None:
    """The latest deadline of the first `chosen` rows; None where all are chosen."""
    if chosen == len(rows):
        return None
    return rows[chosen - 1].deadline if chosen else 0


def _repeat_up_to(chosen: list[TokenRow], *, now: int) -> int | None:
    """The latest deadline of `chosen`. A failed row says by itself when to try again."""
    if not chosen or failure_of(chosen, now=now) != "none":
        return None
    return chosen[-1].deadline


def _readers_part(lifetime: int) -> float:
    """The readers' part of a token's margin, in seconds; smaller for a short-lived token."""
    return required_margin(lifetime) * READERS_SECONDS / MARGIN_SECONDS


def _writes_to_busiest(row: TokenRow) -> int:
    """Writes to the token's busiest secret: its secrets are written in turn."""
    return -(-(row.window_writes or 0) // (row.slots or 1))
