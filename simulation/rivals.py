"""A worker that refreshes tokens by another system's rule.

Only the rule is the other system's. The tokens, the queue, the workers and the planner are
Byline's, with the earliest deadline first, and a throttled write waits until it is accepted.
"""

from collections.abc import Sequence
from contextlib import suppress
from copy import replace
from itertools import batched
from random import Random

from byline.fetch import TimedOut
from byline.refresh.timing import LEASE_SECONDS, MintedToken, by_deadline, is_meant, slots_for
from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import WorkUnit, slot_of
from refresh_tokens.refresher import DueSoonUnit, SliceOutcome
from simulation.ports import DYNAMODB_SECONDS, SECRET_NAMES, SECRET_WRITE_SECONDS
from simulation.rival_rules import Rule
from simulation.timeline import Died
from simulation.world import Sandbox, World

PUTS_SIDE_BY_SIDE = 8
BATCH = 25


def rival_row(row: TokenRow, rule: Rule, random: Random) -> TokenRow:
    """The same token, due at the time that `rule` says; at once before its first token."""
    if row.issued_at is None or row.lifetime is None:
        return row
    due_at = int(max(0, rule.next_due(row.issued_at, row.lifetime, random)))
    return replace(row, generation=0, due_at=due_at)


class RivalWorker:
    """An execution environment that refreshes the due tokens of a work unit by a rule."""

    def __init__(self, rule: Rule, world: World, sandbox: Sandbox) -> None:
        self._rule = rule
        self._world = world
        self._sandbox = sandbox
        lifetime = world.scenario.lifetime
        self._slots = slots_for(lifetime) if rule.has_our_slots else 1

    def begin(self) -> None:
        """Begin an invocation, which keeps nothing of the one before."""

    def take_soon(self) -> list[DueSoonUnit]:
        """Return nothing: these rules send no message of their own."""
        return []

    def refresh(
        self, unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> SliceOutcome:
        """Refresh the due tokens of `unit` with deadlines `up_to`, until the time `until`."""
        world = self._world
        if world.leases.get(unit, ("", 0.0))[1] > world.timeline.now:
            return "held"
        self._hold(unit)
        self._sandbox.spend(4 * DYNAMODB_SECONDS)
        due = world.index.due(unit, now=world.timeline.now)
        for row in due:
            if not row.is_live:
                self._sweep(row)
        meant = by_deadline(row for row in due if row.is_live and is_meant(row, up_to=up_to))
        for batch in batched(meant, BATCH, strict=False):
            if world.timeline.now >= until:
                break
            self._hold(unit)
            self._refresh_batch(batch)
        del world.leases[unit]
        return "done"

    def _hold(self, unit: WorkUnit) -> None:
        self._world.leases[unit] = ("", self._world.timeline.now + LEASE_SECONDS)

    def _refresh_batch(self, rows: Sequence[TokenRow]) -> None:
        world = self._world
        asked_at = int(world.timeline.now)
        minted = self._minted(rows)
        token = MintedToken(text="", issued_at=asked_at, lifetime=world.scenario.lifetime)
        at, puts = world.timeline.now, list[tuple[TokenRow, float]]()
        for row in rows[:minted]:
            at = world.quota.admit_later(at + SECRET_WRITE_SECONDS / PUTS_SIDE_BY_SIDE)
            puts.append((row, at))
        self._sandbox.spend(at - world.timeline.now)
        for row, put_at in puts:
            self._put(row, token, put_at)
        for row in rows[minted:]:
            self._retry_later(row)

    def _minted(self, rows: Sequence[TokenRow]) -> int:
        """For how many of the rows, from the first, the issuer granted a token."""
        world, granted = self._world, 0
        secret = world.issuer.secret_of(rows[0].project)
        with suppress(TimedOut):
            _, granted = world.issuer.ask(secret=secret, tokens=len(rows))
        self._sandbox.spend(0)
        if granted and world.random.random() < world.scenario.crashes:
            raise Died
        return granted

    def _put(self, before: TokenRow, token: MintedToken, at: float) -> None:
        world, row = self._world, self._world.index.get(before.id)
        if row is None or not row.is_live:
            return
        generation = row.generation + 1
        slot = slot_of(generation, slots=self._slots)
        name = SECRET_NAMES.token(row.project, row.client, row.id, slot)
        if world.secrets.put(name, token, generation=generation, now=at) is None:
            self._retry_later(row)
            return
        due_at = int(self._rule.next_due(token.issued_at, token.lifetime, world.random))
        world.measures.replaced(row, due_at=due_at, now=at)
        after = replace(
            row,
            generation=generation,
            attempts=0,
            lifetime=token.lifetime,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
            deadline=token.expires_at,
            due_at=max(due_at, int(world.timeline.now) + 1),
        )
        world.index.put(after)

    def _retry_later(self, before: TokenRow) -> None:
        row = self._world.index.get(before.id)
        if row is None or not row.is_live:
            return
        attempts = row.attempts + 1
        wait = self._rule.retry(attempts, self._world.random)
        due_at = int(self._world.timeline.now + wait) + 1
        self._world.index.put(replace(row, attempts=attempts, due_at=due_at))

    def _sweep(self, row: TokenRow) -> None:
        """Delete the secrets of a token without runners."""
        for slot in range(self._slots):
            self._world.secrets.delete(SECRET_NAMES.token(row.project, row.client, row.id, slot))
        self._world.measures.swept(row, now=self._world.timeline.now)
        self._world.index.remove(row)
