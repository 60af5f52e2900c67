"""All that the workers of a run share, and the process that one of them is."""

from dataclasses import dataclass, field
from random import Random

from byline.refresh.work_units import WorkUnit
from refresh_tokens.clients import ClientState
from simulation.deployment import Deployment
from simulation.issuer import Issuer
from simulation.measures import Measures
from simulation.runner_index import Row, RunnerIndex
from simulation.scenario import Scenario
from simulation.secret_versions import SecretVersions, WriteQuota
from simulation.timeline import Died, Timeline


@dataclass(slots=True, kw_only=True)
class World[R: Row]:
    """A run's AWS account and its issuer."""

    scenario: Scenario
    deployment: Deployment
    timeline: Timeline
    random: Random
    issuer: Issuer
    index: RunnerIndex[R]
    measures: Measures
    secrets: SecretVersions = field(default_factory=SecretVersions)
    quota: WriteQuota = field(default_factory=WriteQuota)
    leases: dict[WorkUnit, tuple[str, float]] = field(default_factory=dict)
    client_states: dict[tuple[str, str], ClientState] = field(default_factory=dict)


class Sandbox:
    """An execution environment of a function: one process, until it dies."""

    def __init__(self, timeline: Timeline) -> None:
        self.is_dead = False
        self._timeline = timeline

    def spend(self, seconds: float) -> None:
        """Let time pass for the caller. Raises `Died` where the process has died meanwhile."""
        self._timeline.wait(seconds)
        if self.is_dead:
            raise Died
