"""Which tokens a tick has replaced where more are due than there is time for.

All due rows are read anyway, so the planner alone sees which deadlines are the earliest of all. By
sending no more than can be written it leaves the workers no order of their own to make up.

Pure: rows in, numbers out. `make simulate` runs this very code on simulated time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import TICK_SECONDS
from byline.refresh.work_units import Unit

WRITES_PER_SECOND = 40
"""Of all workers together: each one's limit times how many there are at once."""

SHARE_SECONDS = 2 * TICK_SECONDS
"""For so long a tick gives workers work: until after the next one, because turns get lost."""

WRITES_A_TICK = WRITES_PER_SECOND * SHARE_SECONDS

UNITS_SHARE = 1 / 8
"""As much of it as one unit in trouble takes before the others in trouble had theirs."""

LASTING_SECONDS = 3_600
"""A token that has been dead for so long, for all that was tried, is in nobody's way any more."""

type Trouble = Literal["none", "new", "lasting"]


def is_replaced(row: RunnerRow) -> bool:
    """Whether refreshing the runner replaces a token: it lives and has one."""
    return row.is_live and row.expires_at is not None


def chosen_runners(
    units: Mapping[Unit, Sequence[RunnerRow]], *, now: int, writes: int
) -> dict[Unit, int]:
    """How many of each unit's due runners this tick is for: the first ones of so many.

    `units` have their runners by deadline. Units in trouble are apart from those that are well, and
    new trouble from lasting: where an issuer is dead its runners' deadlines are always the
    earliest, and nobody else would get a write. After an outage, when all units are in trouble,
    the earliest deadlines of all come first.
    """
    kinds: defaultdict[Trouble, dict[Unit, Sequence[RunnerRow]]] = defaultdict(dict)
    for unit, rows in units.items():
        kinds[trouble_of(rows, now=now)][unit] = rows
    chosen: dict[Unit, int] = {}
    for trouble, alike in kinds.items():
        most_of_a_unit = writes if trouble == "none" else int(writes * UNITS_SHARE)
        chosen |= _earliest(alike, writes=writes, most_of_a_unit=most_of_a_unit)
    return chosen


def trouble_of(rows: Sequence[RunnerRow], *, now: int) -> Trouble:
    """Whether some runner of a unit could not be refreshed, and how long its token has been dead.

    `rows` are by deadline.
    """
    for row in rows:
        if row.attempts:
            return "lasting" if row.deadline < now - LASTING_SECONDS else "new"
    return "none"


def _earliest(
    units: Mapping[Unit, Sequence[RunnerRow]], *, writes: int, most_of_a_unit: int
) -> dict[Unit, int]:
    """How many of each unit are among the earliest for which there is time."""
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
