"""The deployed worker, composed with in-memory clients on simulated time."""

from collections.abc import Mapping
from copy import replace

from byline.fetch import Answer
from byline.refresh.runner_rows import RunnerRow
from byline.refresh.work_units import WorkUnit
from refresh_tokens.minting import Mint
from refresh_tokens.refresher import Refresher, RefreshReport
from refresh_tokens.shared_mints import SharedMints
from refresh_tokens.sweeper import Sweeper
from refresh_tokens.time_slices import DueSoonUnit, DueSoonUnits, SliceOutcome
from refresh_tokens.token_writer import WriteLimiter
from simulation.ports import (
    CrashingPost,
    SimulatedClients,
    SimulatedLeases,
    SimulatedStates,
    SimulatedTable,
    SimulatedWriter,
)
from simulation.threads import PutThreads
from simulation.world import Sandbox, World


class RealWorker:
    """An execution environment of RefreshTokensFunction."""

    def __init__(self, world: World, sandbox: Sandbox, owner: str) -> None:
        clock = world.timeline.clock
        limiter = WriteLimiter(world.deployment.writes_per_second, now=clock, sleep=sandbox.spend)
        leases = self._leases = SimulatedLeases(world, sandbox, owner=owner)
        mint = Mint(
            post=CrashingPost(world, sandbox, leases=leases),
            fetch=_no_fetch,
            now=clock,
            default_lifetime=world.scenario.lifetime,
            warn=lambda _key, _detail: None,
        )
        runners = SimulatedTable(world, sandbox)
        writer = SimulatedWriter(world, limiter=limiter)
        clients = SimulatedClients(world, sandbox)
        states = SimulatedStates(world)
        threads = PutThreads(world.timeline)
        soon = self._soon = DueSoonUnits(now=clock)

        def new_mints() -> SharedMints:
            return SharedMints(
                mint=mint, clients=clients, states=states, now=clock, random=world.random.random
            )

        self._new_mints = new_mints
        self._refresher = Refresher(
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
            report=RefreshReport(
                runner_refreshed=soon.note,
                runner_failed=lambda row, error_class: soon.note(row),
                mint_failed=lambda row, error_class: None,
                unexpected_error=_fail,
                sweep_failed=_fail,
            ),
            now=clock,
            random=world.random.random,
        )

    def begin(self) -> None:
        """Begin an invocation: mints are shared within it."""
        self._leases.begin()
        self._refresher = replace(self._refresher, mints=self._new_mints())

    def refresh(
        self, unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> SliceOutcome:
        """Refresh the due runners of a work unit, as `Refresher.refresh` does."""
        return self._refresher.refresh(unit, up_to=up_to, due_by=due_by, until=until)

    def take_soon(self) -> list[DueSoonUnit]:
        """The work units that are due before the next tick, each once."""
        return self._soon.take()


def _no_fetch(url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    """Raise: no client needs discovery, because each names its token endpoint."""
    raise AssertionError(url)


def _fail(row: RunnerRow, error: Exception) -> None:
    """Raise the error: the deployed worker would count it, and the simulation would hide it."""
    raise error
