"""A worker that refreshes runners' tokens by another system's rule.

Only the rule is the other system's. The queue, the workers and the planner are Byline's, with the
earliest deadline first, and a throttled write waits until Secrets Manager accepts it.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from copy import replace
from itertools import batched
from random import Random

from byline.fetch import TimedOut
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import LEASE_SECONDS, MintedToken, by_deadline, is_meant, slots_for
from byline.refresh.work_units import WorkUnit, slot_of
from refresh_tokens.time_slices import DueSoonUnit, SliceOutcome
from simulation.issuer import Key
from simulation.ports import DYNAMODB_SECONDS, SECRET_NAMES, SECRET_WRITE_SECONDS
from simulation.rival_rules import Rule
from simulation.timeline import Died
from simulation.world import Sandbox, World

PUTS_SIDE_BY_SIDE = 8
BATCH = 25


def rival_row(row: RunnerRow, rule: Rule, random: Random) -> RunnerRow:
    """The same runner with the same token, due at the time that `rule` says."""
    issued_at, lifetime = row.issued_at or 0, row.lifetime or 0
    return replace(
        row,
        slots=slots_for(lifetime) if rule.has_our_slots else 1,
        generation=0,
        due_at=int(max(0, rule.next_due(issued_at, lifetime, random))),
    )


class RivalWorker:
    """An execution environment that refreshes the due runners of a work unit by a rule."""

    def __init__(self, rule: Rule, world: World, sandbox: Sandbox) -> None:
        self._rule = rule
        self._world = world
        self._sandbox = sandbox
        self._shared: dict[Key, MintedToken] = {}

    def begin(self) -> None:
        """Begin an invocation: tokens are shared within one invocation, as Byline shares them."""
        self._shared.clear()

    def take_soon(self) -> list[DueSoonUnit]:
        """Return nothing: these rules send no message of their own."""
        return []

    def refresh(
        self, unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> SliceOutcome:
        """Refresh the due runners of `unit` with deadlines `up_to`, until the time `until`."""
        world = self._world
        if world.leases.get(unit, ("", 0.0))[1] > world.timeline.now:
            return "held"
        self._hold(unit)
        self._sandbox.spend(4 * DYNAMODB_SECONDS)
        due = world.index.due(unit, now=world.timeline.now)
        meant = by_deadline(row for row in due if is_meant(row, up_to=up_to))
        for batch in batched(meant, BATCH, strict=False):
            if world.timeline.now >= until:
                break
            self._hold(unit)
            self._refresh_batch(batch)
        del world.leases[unit]
        return "done"

    def _hold(self, unit: WorkUnit) -> None:
        self._world.leases[unit] = ("", self._world.timeline.now + LEASE_SECONDS)

    def _refresh_batch(self, rows: Sequence[RunnerRow]) -> None:
        counts = Counter(map(_key, rows))
        tokens = {key: self._token(key, runners=count) for key, count in counts.items()}
        at, puts = self._world.timeline.now, list[tuple[str, MintedToken, float]]()
        for row in rows:
            token = tokens[_key(row)]
            if token is None:
                self._retry_later(row.runner)
                continue
            at = self._world.quota.admit_later(at + SECRET_WRITE_SECONDS / PUTS_SIDE_BY_SIDE)
            puts.append((row.runner, token, at))
        self._sandbox.spend(at - self._world.timeline.now)
        for runner, token, put_at in puts:
            self._put(runner, token, put_at)

    def _token(self, key: Key, *, runners: int) -> MintedToken | None:
        """A token for so many runners of a mint key, or None where the issuer gave none."""
        if not self._rule.shares_mints:
            return self._minted(key, tokens=runners)
        shared = self._shared.get(key)
        if shared is None or self._next_due(shared) <= self._world.timeline.now:
            shared = self._minted(key, tokens=1)
        if shared is not None:
            self._shared[key] = shared
        return shared

    def _minted(self, key: Key, *, tokens: int) -> MintedToken | None:
        world, asked_at = self._world, int(self._world.timeline.now)
        secret, is_granted = world.issuer.secret_of(key[0]), False
        with suppress(TimedOut):
            is_granted = world.issuer.ask(key, secret=secret, tokens=tokens).status == 200
        self._sandbox.spend(0)
        if not is_granted:
            return None
        if world.random.random() < world.scenario.crashes:
            world.issuer.lost(key, tokens=tokens)
            raise Died
        return MintedToken(text="", issued_at=asked_at, lifetime=world.scenario.lifetime)

    def _put(self, runner: str, token: MintedToken, at: float) -> None:
        world, row = self._world, self._world.index.get(runner)
        generation = row.generation + 1
        slot = slot_of(generation, slots=row.slots or 1)
        name = SECRET_NAMES.token(row.project, runner, slot)
        if world.secrets.put(name, token, generation=generation, now=at) is None:
            self._retry_later(runner)
            return
        due_at = self._next_due(token)
        world.measures.replaced(row, due_at=due_at, now=at)
        after = replace(
            row,
            generation=generation,
            attempts=0,
            expires_at=token.expires_at,
            deadline=token.expires_at,
            due_at=max(due_at, int(world.timeline.now) + 1),
        )
        world.index.put(after)

    def _next_due(self, token: MintedToken) -> int:
        return int(self._rule.next_due(token.issued_at, token.lifetime, self._world.random))

    def _retry_later(self, runner: str) -> None:
        row = self._world.index.get(runner)
        attempts = row.attempts + 1
        wait = self._rule.retry(attempts, self._world.random)
        due_at = int(self._world.timeline.now + wait) + 1
        self._world.index.put(replace(row, attempts=attempts, due_at=due_at))


def _key(row: RunnerRow) -> Key:
    return row.project, row.audience or ""
