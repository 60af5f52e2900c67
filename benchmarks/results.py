"""What a run of the benchmark found, and what is promised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.functions import ColdStart


@dataclass(frozen=True, slots=True)
class Series:
    """Repeated measurements of one thing."""

    values: Sequence[float]
    unit: str

    @property
    def median(self) -> float:
        """Half of the measurements are below."""
        return median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Half of the measurements are between."""
        low, _, high = quantiles(self.values, n=4)
        return low, high


@dataclass(frozen=True, slots=True)
class Promise:
    """Byline's median is at most `budget` times a baseline's; `aim` is what it strives for."""

    what: str
    against: str
    byline: Series
    baseline: Series
    budget: float
    aim: float

    @property
    def ratio(self) -> float:
        """How many times the baseline's median."""
        return self.byline.median / self.baseline.median

    @property
    def is_kept(self) -> bool:
        """Whether Byline is within its budget."""
        return self.ratio <= self.budget

    @property
    def verdict(self) -> str:
        """For people."""
        if not self.is_kept:
            return "**over budget**"
        return "aim reached" if self.ratio <= self.aim else "within budget"


DECISION = Series([200.0, 200.0], "µs")
"""What a decision may cost."""

DECIDED = {"person": "a person", "service_account": "a service account and its person, both"}
"""Whom decisions are about."""


def promises(
    cold: Mapping[str, Sequence[ColdStart]],
    warm: Mapping[str, Sequence[float]],
    verification: Mapping[str, Sequence[float]],
    decisions: Mapping[str, Sequence[float]],
) -> list[Promise]:
    """The budgets of the benchmarks. A row without an aim of its own has its budget as its aim."""
    starts = {name: cold_series(found)["both"] for name, found in cold.items()}
    memory = {name: cold_series(found)["peak memory"] for name, found in cold.items()}
    creates = {name: Series(found, "ms") for name, found in warm.items()}
    checks = {kind: Series(found, "µs") for kind, found in verification.items()}
    raw = "one raw `cryptography` ES256 verification"
    return [
        Promise(
            what="cold start: init and the first create",
            against="a boto3-only function with byte code",
            byline=starts["byline"],
            baseline=starts["boto3_only"],
            budget=1.4,
            aim=1.0,
        ),
        Promise(
            what="the same",
            against="the usual way, plain `sam build`",
            byline=starts["byline"],
            baseline=starts["usual_way"],
            budget=0.3,
            aim=0.3,
        ),
        Promise(
            what="verifying a token never seen before, key cached",
            against=raw,
            byline=checks["fresh"],
            baseline=checks["raw"],
            budget=1.5,
            aim=1.3,
        ),
        Promise(
            what="verifying a token seen before",
            against=raw,
            byline=checks["seen"],
            baseline=checks["raw"],
            budget=0.1,
            aim=0.1,
        ),
        Promise(
            what="a warm create, CPU",
            against="raw verification and a bare `put_item` over TLS",
            byline=creates["byline"],
            baseline=creates["raw_floor"],
            budget=1.2,
            aim=1.1,
        ),
        Promise(
            what="memory after the first create, peak",
            against="the boto3-only function",
            byline=memory["byline"],
            baseline=memory["boto3_only"],
            budget=1.4,
            aim=1.4,
        ),
        *(
            Promise(
                what=f"a decision about {whom}, {kind}",
                against="what it may cost",
                byline=Series(decisions[f"{who}, {kind}"], "µs"),
                baseline=DECISION,
                budget=1.0,
                aim=1.0,
            )
            for kind in ("made", "remembered")
            for who, whom in DECIDED.items()
        ),
    ]


def cold_series(starts: Sequence[ColdStart]) -> dict[str, Series]:
    """The parts of a function's cold starts."""
    return {
        "init": Series([start.init for start in starts], "ms"),
        "first request": Series([start.first_request for start in starts], "ms"),
        "both": Series([start.total for start in starts], "ms"),
        "CPU": Series([start.cpu for start in starts], "ms"),
        "peak memory": Series([start.peak_memory for start in starts], "MB"),
    }
