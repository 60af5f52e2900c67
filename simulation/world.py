"""The state that all workers of a run share, and the process that each worker runs in."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from byline.refresh.work_units import WorkUnit
from refresh_tokens.retries import ClientState
from simulation.deployment import Deployment
from simulation.issuer import Issuer
from simulation.measures import Measures
from simulation.scenario import Scenario
from simulation.secret_versions import SecretVersions, WriteQuota
from simulation.timeline import Died, Timeline
from simulation.token_index import TokenIndex


@dataclass(slots=True, kw_only=True)
class World:
    """A run's AWS account and issuer.

    `leases`: by work unit, the owner and the time in seconds until which the lease is held.
    `doomed`: by work unit, how many mints its time slice makes before the mint after which it dies.
    `messages`: by work unit, the messages that are being worked on. `client_states`: by project and
    client. `runners`: how many point to each token, by the number in the token's id.
    """

    scenario: Scenario
    deployment: Deployment
    timeline: Timeline
    random: Random
    issuer: Issuer
    index: TokenIndex
    measures: Measures
    runners: "array[int]"
    secrets: SecretVersions = field(default_factory=SecretVersions)
    quota: WriteQuota = field(default_factory=WriteQuota)
    leases: dict[WorkUnit, tuple[str, float]] = field(default_factory=dict)
    doomed: dict[WorkUnit, int] = field(default_factory=dict)
    messages: dict[WorkUnit, Sequence[str]] = field(default_factory=dict)
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
