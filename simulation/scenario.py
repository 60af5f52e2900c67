"""What happens in two days: how many runners there are, and what befalls them."""

from dataclasses import dataclass

HOUR = 3_600
CRASHES = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From `start` up to `end`, in seconds."""

    start: float
    end: float

    def covers(self, time: float) -> bool:
        return self.start <= time < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fleet and its two days; the same `seed` gives the same ones again.

    In `outage` the issuer hangs for the first half and answers 503 for the second. At `deploy`
    every worker dies at once, and the new ones look for due work at once. In `wrong_secret` one
    project's client secret is not the one that the issuer knows. `crashes` is the share of mints
    after which the turn that minted dies, before the put and with its lease.
    """

    name: str
    runners: int
    lifetime: int
    seconds: float = 48 * HOUR
    outage: Span = Span(start=12 * HOUR, end=12 * HOUR + 1_200)
    deploy: float = 24 * HOUR + 17
    wrong_secret: Span = Span(start=30 * HOUR, end=34 * HOUR)
    crashes: float = CRASHES
    seed: int = 1


SCENARIOS = (
    Scenario(name="100", runners=100, lifetime=900),
    Scenario(name="10000", runners=10_000, lifetime=900),
    Scenario(name="20000", runners=20_000, lifetime=900),
    Scenario(name="45000", runners=45_000, lifetime=1_800),
)

VARIANTS_SCENARIO = Scenario(
    name="variants",
    runners=20_000,
    lifetime=900,
    seconds=6 * HOUR,
    outage=Span(start=2 * HOUR, end=2 * HOUR + 1_200),
    deploy=4 * HOUR + 17,
    wrong_secret=Span(start=4.5 * HOUR, end=5 * HOUR),
)
"""A quarter of a day: long enough to tell one way to run the workers from another."""
