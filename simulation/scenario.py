"""A fleet of runners and the faults of its two simulated days."""

from dataclasses import dataclass
from typing import Self

HOUR = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time from `start` up to but not including `end`, in seconds of simulated time."""

    start: float
    end: float

    def covers(self, time: float) -> bool:
        """Whether `time` is in the span."""
        return self.start <= time < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How many runners there are, their tokens' `lifetime`, and the faults. Times in seconds.

    `outage`: the issuer does not answer in the first half and answers 503 in the second.
    `deploy`: the time at which all workers stop at once; new workers and a tick follow.
    `wrong_secret`: while one project's stored client secret is not the one that its issuer knows.
    `crashes`: the share of mints after which the worker's time slice dies, before the put and
    without giving its lease back.
    `seed`: the same seed gives the same run.
    """

    runners: int
    lifetime: int
    seconds: float = 48 * HOUR
    outage: Span = Span(start=12 * HOUR, end=12 * HOUR + 1_200)
    deploy: float = 24 * HOUR + 17
    wrong_secret: Span = Span(start=30 * HOUR, end=34 * HOUR)
    crashes: float = 0.05
    seed: int = 1

    @classmethod
    def named(cls, name: str) -> Self:
        """The two days of a fleet that is named like `1000x900`: runners, lifetime in seconds.

        Raises `ValueError` for any other name.
        """
        runners, lifetime = map(int, name.split("x"))
        return cls(runners=runners, lifetime=lifetime)

    @property
    def name(self) -> str:
        """The fleet's name, like `1000x900`."""
        return f"{self.runners}x{self.lifetime}"

    @property
    def title(self) -> str:
        """The fleet in words."""
        return f"{self.runners:,} runners, tokens of {self.lifetime:,} s"
