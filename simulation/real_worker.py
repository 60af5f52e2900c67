"""The deployed worker, composed with in-memory clients on simulated time."""

from byline.refresh.token_rows import TokenRow
from byline.refresh.work_units import WorkUnit
from refresh_tokens.clients import ClientMints
from refresh_tokens.refresher import (
    DueSoonUnit,
    DueSoonUnits,
    Refresher,
    RefreshReport,
    SliceOutcome,
)
from refresh_tokens.sweeper import Sweeper
from refresh_tokens.token_writer import WriteLimiter
from simulation.ports import (
    WRITES_AT_ONCE,
    DyingMint,
    SimulatedClients,
    SimulatedLeases,
    SimulatedStates,
    SimulatedTable,
    SimulatedWriter,
)
from simulation.threads import WorkerThreads
from simulation.world import Sandbox, World


class RealWorker:
    """An execution environment of RefreshTokensFunction."""

    def __init__(self, world: World, sandbox: Sandbox, owner: str) -> None:
        clock, random = world.timeline.clock, world.random.random
        limiter = WriteLimiter(world.deployment.writes_per_second, now=clock, sleep=sandbox.spend)
        leases = self._leases = SimulatedLeases(world, sandbox, owner=owner)
        mint = DyingMint(world, sandbox, leases=leases)
        tokens = SimulatedTable(world, sandbox)
        writer = SimulatedWriter(world, limiter=limiter)
        clients = SimulatedClients(world)
        threads = WorkerThreads(world.timeline, at_once=WRITES_AT_ONCE)
        soon = self._soon = DueSoonUnits(now=clock)
        self._refresher = Refresher(
            tokens=tokens,
            writer=writer,
            sweeper=Sweeper(
                tokens=tokens,
                writer=writer,
                clients=clients,
                mint=mint,
                threads=threads,
                now=clock,
            ),
            mints=ClientMints(
                mint=mint,
                clients=clients,
                states=SimulatedStates(world),
                now=clock,
                random=random,
            ),
            leases=leases,
            threads=threads,
            report=RefreshReport(
                token_refreshed=soon.note,
                token_failed=soon.note,
                mint_failed=lambda row: None,
                unexpected_error=_fail,
                sweep_failed=_fail,
            ),
            now=clock,
            random=random,
        )

    def begin(self) -> None:
        """Begin an invocation."""
        self._leases.begin()

    def refresh(
        self, unit: WorkUnit, *, up_to: int | None, due_by: int | None, until: float
    ) -> SliceOutcome:
        """Refresh the due tokens of a work unit, as `Refresher.refresh` does."""
        return self._refresher.refresh(unit, up_to=up_to, due_by=due_by, until=until)

    def take_soon(self) -> list[DueSoonUnit]:
        """The work units that are due before the next tick, each once."""
        return self._soon.take()


def _fail(row: TokenRow, error: Exception) -> None:
    """Raise the error: the deployed worker would count it, and the simulation would hide it."""
    raise error
