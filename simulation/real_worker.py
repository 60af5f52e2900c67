"""The real worker, given ports on simulated time."""

from collections.abc import Mapping
from dataclasses import replace

from byline.fetch import Answer
from byline.refresh_units import Unit
from byline.runner_rows import RunnerRow
from mint import Mint
from refresh_unit import Outcome, Report, UnitRefresher
from runner_sweep import Sweeper
from simulation.ports import (
    MortalPost,
    PutThreads,
    SimulatedClients,
    SimulatedLeases,
    SimulatedStates,
    SimulatedTable,
    SimulatedWriter,
)
from simulation.world import Sandbox, World
from unit_mints import UnitMints
from write_limiter import WriteLimiter


class RealWorker:
    """An execution environment of RefreshTokensFunction."""

    def __init__(self, world: World[RunnerRow], sandbox: Sandbox, owner: str) -> None:
        clock = world.timeline.clock
        limiter = WriteLimiter(world.deployment.writes_per_second, now=clock, sleep=sandbox.spend)
        leases = SimulatedLeases(world, sandbox, owner=owner)
        mint = Mint(
            post=MortalPost(world, sandbox, leases=leases),
            fetch=_no_fetch,
            now=clock,
            default_lifetime=world.scenario.lifetime,
        )
        runners = SimulatedTable(world, sandbox)
        writer = SimulatedWriter(world, limiter=limiter)
        clients = SimulatedClients(world, sandbox)
        states = SimulatedStates(world)
        threads = PutThreads(world.timeline)
        self._next_due: dict[Unit, int] = {}

        def new_mints() -> UnitMints:
            return UnitMints(
                mint=mint, clients=clients, states=states, now=clock, random=world.random.random
            )

        self._new_mints = new_mints
        self._refresher = UnitRefresher(
            runners=runners,
            writer=writer,
            sweeper=Sweeper(
                runners=runners,
                writer=writer,
                clients=clients,
                mint=mint,
                threads=threads,
                now=clock,
            ),
            mints=new_mints(),
            leases=leases,
            threads=threads,
            report=Report(
                runner_refreshed=self._note,
                runner_postponed=lambda row, error_class: self._note(row),
                mint_failed=lambda row, error_class: None,
            ),
            now=clock,
            random=world.random.random,
        )

    def begin(self) -> None:
        """An invocation begins."""
        self._refresher = replace(self._refresher, mints=self._new_mints())

    def refresh(self, unit: Unit, *, until: float, lease_until: float) -> Outcome:
        """A turn at a unit."""
        return self._refresher.refresh(unit, until=until, lease_until=lease_until)

    def take_next_due(self) -> dict[Unit, int]:
        """The units that were worked on, each with when something of it is due again."""
        next_due, self._next_due = self._next_due, {}
        return next_due

    def _note(self, row: RunnerRow) -> None:
        if row.due_at is not None:
            self._next_due[row.unit] = min(row.due_at, self._next_due.get(row.unit, row.due_at))


def _no_fetch(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """All clients name their token endpoint, so there is nothing to discover."""
    raise AssertionError(url)
