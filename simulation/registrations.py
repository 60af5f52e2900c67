"""Runners that are deleted and registered while the fleet runs: counts of pointers to tokens.

A runner that joins or leaves a token with other runners changes a number. The last runner that goes
retires its token, and the first that comes makes a new one, by the rules of the API.
"""

from array import array
from bisect import bisect
from copy import replace
from functools import partial
from itertools import accumulate

from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import DAY_SECONDS
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import Selection
from serve_runs.runners.changes import RESTART_SPACING_SECONDS, left, token_after
from simulation.event_source import Queue
from simulation.fleet import Fleet, first_row
from simulation.world import World

AWAY_SECONDS = 120
"""The longest time from a runner's deletion to the registration of the runner that replaces it."""

_RUNNER = RunnerRow(
    project="", runner="", client="", token="", revision="", created_at="", updated_at=""
)
"""Any runner that joins a token: nothing of its row changes the token's."""


class Registrations:
    """Replaces runners by others that ask for the same, at random times."""

    def __init__(self, world: World, queue: Queue, fleet: Fleet) -> None:
        self._world = world
        self._queue = queue
        self._keys = fleet.keys
        self._up_to = list(accumulate(fleet.runners))
        self._made = array("l", [0]) * len(fleet.keys)

    def replace_runners(self) -> None:
        """Replace one runner after the other, for ever."""
        world, most = self._world, self._up_to[-1]
        a_second = world.scenario.replaced_a_day * most / DAY_SECONDS
        while a_second:
            world.timeline.wait(world.random.expovariate(a_second))
            number = bisect(self._up_to, world.random.randrange(most))
            if world.runners[number]:
                self._leave(number)
                away = world.random.random() * AWAY_SECONDS
                world.timeline.start(partial(self._join, number), after=away)

    def _leave(self, number: int) -> None:
        world, now = self._world, self._world.timeline.now
        world.runners[number] -= 1
        if not world.runners[number]:
            row = left(replace(self._token(number), runners=1), now=now)
            world.measures.retired(row, now=now)
            self._write(row)

    def _join(self, number: int) -> None:
        world, now = self._world, self._world.timeline.now
        world.measures.registered += 1
        world.runners[number] += 1
        if world.runners[number] == 1:
            self._made[number] += 1
            token_id = f"{number}.{self._made[number]}"
            row = first_row(self._keys[number], token_id=token_id, now=int(now))
            _end_wait(world, row)
            self._write(row)
            return
        row = self._token(number)
        if row.last_error is not None:
            _shorten_wait(world, row)
            self._write(token_after(row, before=None, after=_RUNNER, now=now))

    def _token(self, number: int) -> TokenRow:
        """The token to which runners point now."""
        return self._world.index.row(f"{number}.{self._made[number]}")

    def _write(self, row: TokenRow) -> None:
        """Write a row, and send the message of the API if the token is due."""
        self._world.index.put(row)
        if row.try_at is not None and row.try_at <= self._world.timeline.now:
            message = f"registered-{self._world.measures.registered}"
            self._queue.send(row.work_unit, Selection(row.deadline, None, (message,)))


def _end_wait(world: World, row: TokenRow) -> None:
    """End the wait of the token's client, as `ClientWaits.end` does."""
    state = world.client_states.get((row.project, row.client))
    if state is not None and (state.is_refused or state.retry_at > world.timeline.now):
        del world.client_states[row.project, row.client]


def _shorten_wait(world: World, row: TokenRow) -> None:
    """Let the token's client be tried again, as `ClientWaits.shorten` does."""
    state = world.client_states.get((row.project, row.client))
    if state is None:
        return
    earliest = max(row.try_at or 0, state.since + RESTART_SPACING_SECONDS)
    if state.is_refused or state.retry_at > earliest:
        world.client_states[row.project, row.client] = replace(
            state, broken_version=None, asked_version=state.version, retry_at=earliest
        )
