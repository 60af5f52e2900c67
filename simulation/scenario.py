"""A fleet of tokens with their runners, and the faults of its two simulated days."""

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
    """How many `tokens` of which `lifetime` there are, how many `runners` point to them, and the
    faults. Times in seconds.

    `outage`: the issuer does not answer in the first half and answers 503 in the second.
    `deploy`: the time at which all workers stop at once; new workers and a tick follow.
    `wrong_secret`: while one project's stored client secret is not the one that its issuer knows.
    `crashes`: the share of looks at due tokens after which the time slice dies, between a mint and
    its put and without giving its lease back.
    `replaced_a_day`: the share of all runners that are deleted in a day, each for another one.
    `seed`: the same seed gives the same run.
    """

    tokens: int
    runners: int
    lifetime: int
    seconds: float = 48 * HOUR
    outage: Span = Span(start=12 * HOUR, end=12 * HOUR + 1_200)
    deploy: float = 24 * HOUR + 17
    wrong_secret: Span = Span(start=30 * HOUR, end=34 * HOUR)
    crashes: float = 0.05
    replaced_a_day: float = 1.0
    seed: int = 1

    @classmethod
    def named(cls, name: str) -> Self:
        """The two days of a fleet that is named like `1000on20x900` or `1000x900`.

        So many runners on so many tokens of that lifetime in seconds; without `on`, each runner has
        a token of its own. Raises `ValueError` for any other name.
        """
        fleet, lifetime = name.split("x")
        runners, _, tokens = fleet.partition("on")
        return cls(runners=int(runners), tokens=int(tokens or runners), lifetime=int(lifetime))

    @property
    def is_isolated(self) -> bool:
        """Whether each runner has a token of its own."""
        return self.runners == self.tokens

    @property
    def name(self) -> str:
        """The fleet's name, like `1000on20x900`."""
        tokens = "" if self.is_isolated else f"on{self.tokens}"
        return f"{self.runners}{tokens}x{self.lifetime}"

    @property
    def title(self) -> str:
        """The fleet in words."""
        tokens = "isolated" if self.is_isolated else f"behind {self.tokens:,} tokens"
        return f"{self.runners:,} runners, {tokens}, {self.lifetime:,} s"
