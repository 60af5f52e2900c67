"""Keeping in mind whose next refresh cannot wait for a tick."""

from dataclasses import dataclass
from threading import Lock

from byline.caching import Clock
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import Unit
from refresh_tokens.plan import is_due_soon


@dataclass(frozen=True, slots=True)
class SoonDue:
    """Runners of a unit that are due from `due_at` on, with deadlines up to `deadline`."""

    unit: Unit
    due_at: int
    deadline: int


class DueSoon:
    """Gathers, from several threads, what is due before a tick may come."""

    def __init__(self, *, now: Clock) -> None:
        self._now = now
        self._noted: dict[Unit, SoonDue] = {}
        self._lock = Lock()

    def note(self, row: RunnerRow) -> None:
        """Keep in mind a runner that was refreshed or postponed, where it is due soon."""
        if row.shard is None or row.due_at is None or not is_due_soon(row, now=int(self._now())):
            return
        unit = Unit(shard=row.shard, project=row.project)
        with self._lock:
            known = self._noted.get(unit)
            self._noted[unit] = (
                SoonDue(unit, min(known.due_at, row.due_at), max(known.deadline, row.deadline))
                if known
                else SoonDue(unit, row.due_at, row.deadline)
            )

    def take(self) -> list[SoonDue]:
        """All that was gathered, once."""
        with self._lock:
            noted, self._noted = self._noted, {}
        return list(noted.values())
