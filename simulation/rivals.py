"""The same fleet under other systems' rules: when they refresh, and what they do after a failure.

Of each only the rule is taken. It runs on the same queue, workers and units as ours, with the
earliest deadline first, at most as fast as Secrets Manager lets all of them: kinder than life.
Each refreshes a runner for itself; nobody but us shares mints.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import batched
from random import Random
from typing import cast

from byline.fetch import TimedOut
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.timing import DAY_SECONDS, LEASE_SECONDS, MintedToken, by_deadline, is_meant
from byline.refresh.work_units import WorkUnit
from refresh_tokens.refresher import DueSoonUnit, SliceOutcome
from simulation.ports import DYNAMODB_SECONDS, SECRET_WRITE_SECONDS
from simulation.timeline import Died
from simulation.world import Sandbox, World

PUTS_SIDE_BY_SIDE = 8
BATCH = 25
MINUTE, HOUR = 60, 3_600


@dataclass(slots=True)
class RivalRow:
    """As much of a row as these rules know of."""

    project: str
    runner: str
    work_unit: WorkUnit
    audience: str
    expires_at: int
    deadline: int
    due_at: int
    lifetime: int
    attempts: int = 0
    generation: int = 0
    is_live: bool = True
    shard: None = None  # found by its unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`next_due`: when a token that was asked for at a time, for so many seconds, is due.

    `retry`: seconds until the next try after so many failures in a row. `remembers`: whether it
    knows after a restart what is fresh; one that does not refreshes everything.
    """

    name: str
    next_due: Callable[[float, int, Random], float]
    retry: Callable[[int, Random], float]
    remembers: bool


RIVALS = (
    Rule(
        name="4-minute loop",
        next_due=lambda now, lifetime, random: (now // 240 + 1) * 240,
        retry=lambda attempts, random: 4 * MINUTE,
        remembers=False,
    ),
    # https://external-secrets.io/latest/api/externalsecret/; failures: 1 s, doubled up to 7 min
    Rule(
        name="External Secrets, every 10 min",
        next_due=lambda now, lifetime, random: now + 600,
        retry=lambda attempts, random: min(2.0 ** (attempts - 1), 7 * MINUTE),
        remembers=True,
    ),
    # https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent/template
    Rule(
        name="Vault Agent, 2/3",
        next_due=lambda now, lifetime, random: now + lifetime * random.uniform(0.6, 2 / 3),
        retry=lambda attempts, random: min(2.0 ** (attempts - 1), MINUTE) * random.uniform(0.75, 1),
        remembers=False,
    ),
    Rule(
        name="SPIRE, 1/2 ± 10 %",
        next_due=lambda now, lifetime, random: now + lifetime / 2 * random.uniform(0.9, 1.1),
        retry=lambda attempts, random: min(5 * 1.5 ** (attempts - 1), 2 * MINUTE),
        remembers=True,
    ),
    # https://cert-manager.io/docs/reference/api-docs/: an hour, doubled with every failure
    Rule(
        name="cert-manager, 2/3",
        next_due=lambda now, lifetime, random: now + lifetime * 2 / 3,
        retry=lambda attempts, random: HOUR * 2.0 ** min(attempts - 1, 5),
        remembers=True,
    ),
    # https://kubernetes.io/docs/concepts/storage/projected-volumes/: 80 %, or 24 hours
    Rule(
        name="kubelet, 80 %",
        next_due=lambda now, lifetime, random: (
            now + min(lifetime * 0.8, DAY_SECONDS) - random.uniform(0, 10)
        ),
        retry=lambda attempts, random: MINUTE,
        remembers=False,
    ),
    # 15 minutes before the end, whatever the lifetime; then again whenever somebody asks
    Rule(
        name="botocore, 15 min before",
        next_due=lambda now, lifetime, random: now + max(0, lifetime - 15 * MINUTE),
        retry=lambda attempts, random: MINUTE,
        remembers=False,
    ),
)


def rival_row(row: RunnerRow, rule: Rule, random: Random) -> RivalRow:
    """The same runner with the same token, some way on to its next refresh by this rule."""
    issued_at, lifetime = row.issued_at or 0, row.lifetime or 0
    due_at = rule.next_due(issued_at, lifetime, random)
    return RivalRow(
        project=row.project,
        runner=row.runner,
        work_unit=row.work_unit,
        audience=row.audience or "",
        expires_at=issued_at + lifetime,
        deadline=issued_at + lifetime,
        due_at=int(max(0, due_at)),
        lifetime=lifetime,
    )


class RivalWorker:
    """Refreshes what is due by a rule."""

    def __init__(self, rule: Rule, world: World[RivalRow], sandbox: Sandbox) -> None:
        self._rule = rule
        self._world = world
        self._sandbox = sandbox

    def refresh(
        self, unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> SliceOutcome:
        """Refresh what is due of `unit`."""
        world = self._world
        if world.leases.get(unit, ("", 0.0))[1] > world.timeline.now:
            return "held"
        world.leases[unit] = ("", world.timeline.now + LEASE_SECONDS)
        self._sandbox.spend(4 * DYNAMODB_SECONDS)
        due = cast(list[RunnerRow], world.index.due(unit, now=world.timeline.now))
        meant = by_deadline(row for row in due if is_meant(row, up_to=up_to))
        rows = cast(list[RivalRow], meant)
        for batch in batched(rows, BATCH, strict=False):
            if world.timeline.now >= until:
                break
            world.leases[unit] = ("", world.timeline.now + LEASE_SECONDS)
            self._refresh_batch(batch)
        del world.leases[unit]
        return "done"

    def _refresh_batch(self, rows: tuple[RivalRow, ...]) -> None:
        world, asked_at = self._world, int(self._world.timeline.now)
        key = (rows[0].project, rows[0].audience)
        secret = world.issuer.secret_of(rows[0].project)
        answered = False
        with suppress(TimedOut):
            answered = world.issuer.ask(key, secret=secret, tokens=len(rows)).status == 200
        self._sandbox.spend(0)
        if not answered:
            for row in rows:
                self._postpone(row)
            return
        if world.random.random() < world.scenario.crashes:
            world.issuer.lost(key, tokens=len(rows))
            raise Died
        lifetime = world.scenario.lifetime
        token = MintedToken(text="", issued_at=asked_at, lifetime=lifetime)
        at, puts = world.timeline.now, list[tuple[RivalRow, float]]()
        for row in rows:
            at = world.quota.admit_later(at + SECRET_WRITE_SECONDS / PUTS_SIDE_BY_SIDE)
            puts.append((row, at))
        self._sandbox.spend(at - world.timeline.now)
        for row, put_at in puts:
            self._put(row, token, put_at)

    def _put(self, row: RivalRow, token: MintedToken, at: float) -> None:
        world, generation = self._world, row.generation + 1
        if world.secrets.put(row.runner, token, generation=generation, now=at) is None:
            self._postpone(row)
            return
        due_at = int(self._rule.next_due(token.issued_at, token.lifetime, world.random))
        world.measures.replaced(row, due_at=due_at, now=at)
        row.generation, row.attempts = generation, 0
        row.expires_at = row.deadline = token.expires_at
        row.due_at = max(due_at, int(world.timeline.now) + 1)
        world.index.put(row)

    def begin(self) -> None:
        """An invocation begins: nothing is kept of the one before."""

    def take_soon(self) -> list[DueSoonUnit]:
        """None of these systems asks for anything but its own next look."""
        return []

    def _postpone(self, row: RivalRow) -> None:
        now = self._world.timeline.now
        row.attempts += 1
        row.due_at = int(now + self._rule.retry(row.attempts, self._world.random)) + 1
        self._world.index.put(row)
