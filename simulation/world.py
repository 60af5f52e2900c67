"""The state that all workers of a run share, and the process that each worker runs in."""

from dataclasses import dataclass, field
from random import Random

from byline.refresh.work_units import WorkUnit
from refresh_tokens.retries import ClientState
from simulation.deployment import Deployment
from simulation.issuer import Issuer
from simulation.measures import Measures
from simulation.runner_index import RunnerIndex
from simulation.scenario import Scenario
from simulation.secret_versions import SecretVersions, WriteQuota
from simulation.timeline import Died, Timeline


@dataclass(slots=True, kw_only=True)
class World:
    """A run's AWS account and issuer.

    `leases`: by work unit, the owner and the time in seconds until which the lease is held.
    `client_states`: by project and client.
    """

    scenario: Scenario
    deployment: Deployment
    timeline: Timeline
    random: Random
    issuer: Issuer
    index: RunnerIndex
    measures: Measures
    secrets: SecretVersions = field(default_factory=SecretVersions)
    quota: WriteQuota = field(default_factory=WriteQuota)
    leases: dict[WorkUnit, tuple[str, float]] = field(default_factory=dict)
    client_states: dict[tuple[str, str], ClientState] = field(default_factory=dict)


class Sandbox:
    """An execution environment of a Lambda function: one process, until it dies."""

    def __init__(self, timeline: Timeline) -> None:
        self.is_dead = False
        self._timeline = timeline

    def spend(self, seconds: float) -> None:
        """Let so many seconds pass for the caller. Raises `Died` if the process died meanwhile."""
        self._timeline.wait(seconds)
        if self.is_dead:
            raise Died
