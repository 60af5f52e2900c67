"""The results of a run of the benchmark, and the budgets that they are held to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks.functions import ColdStart


@dataclass(frozen=True, slots=True)
class Series:
    """Repeated measurements of one quantity."""

    values: Sequence[float]
    unit: str

    @property
    def median(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper quartile."""
        low, _, high = quantiles(self.values, n=4)
        return low, high


@dataclass(frozen=True, slots=True)
class Promise:
    """A budget: Byline's median is at most `budget` times the baseline's median.

    The baseline is measured in the same run, so the budget holds on fast and slow machines. `aim`
    is the ratio to work towards.
    """

    what: str
    against: str
    byline: Series
    baseline: Series
    budget: float
    aim: float

    @property
    def ratio(self) -> float:
        """Byline's median divided by the baseline's."""
        return self.byline.median / self.baseline.median

    @property
    def is_kept(self) -> bool:
        """Whether the ratio is within the budget."""
        return self.ratio <= self.budget

    @property
    def verdict(self) -> str:
        """The verdict for the table."""
        if not self.is_kept:
            return "**over budget**"
        return "aim reached" if self.ratio <= self.aim else "within budget"


DECIDED = {"person": ("a person", 1), "service_account": ("a service account and its person", 2)}
"""The subjects of decisions, each with the number of questions to Cedar that its decision takes."""

DECISION_BUDGETS = {"made": (4.0, 3.0), "remembered": (0.2, 0.1)}
"""Budget and aim of one question: made by Cedar, or remembered."""


def promises(
    cold: Mapping[str, Sequence[ColdStart]],
    warm: Mapping[str, Sequence[float]],
    verification: Mapping[str, Sequence[float]],
    decisions: Mapping[str, Sequence[float]],
) -> list[Promise]:
    """All budgets but those of refreshing, with their measurements."""
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
            what="cold start of the web console: init and the page",
            against="a boto3-only function with byte code",
            byline=starts["console"],
            baseline=starts["boto3_only"],
            budget=0.5,
            aim=0.5,
        ),
        Promise(
            what="identifying the caller of a token never seen before, key cached",
            against=raw,
            byline=checks["fresh"],
            baseline=checks["raw"],
            budget=1.7,
            aim=1.3,
        ),
        Promise(
            what="identifying the caller of a token seen before",
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
            budget=1.3,
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
                against="one bare `cedarpy.is_authorized`",
                byline=Series(decisions[f"{who}, {kind}"], "µs"),
                baseline=Series(decisions["bare"], "µs"),
                budget=questions * budget,
                aim=questions * aim,
            )
            for kind, (budget, aim) in DECISION_BUDGETS.items()
            for who, (whom, questions) in DECIDED.items()
        ),
    ]


def registration(cpu: Sequence[float], calls: Mapping[str, int], floor: Sequence[float]) -> Promise:
    """The budget of a registration that shares a token. Raises where it makes other calls."""
    if calls != {"BatchGetItem": 1, "TransactWriteItems": 1}:
        raise AssertionError(f"a registration that shares makes other calls: {calls}")
    return Promise(
        what="registering a runner that shares a token: one read, one transaction, CPU",
        against="raw verification and a bare `put_item` over TLS",
        byline=Series(cpu, "ms"),
        baseline=Series(floor, "ms"),
        budget=3.0,
        aim=2.5,
    )


def cold_series(starts: Sequence[ColdStart]) -> dict[str, Series]:
    """The parts of a function's cold starts, by name."""
    return {
        "init": Series([start.init for start in starts], "ms"),
        "first request": Series([start.first_request for start in starts], "ms"),
        "both": Series([start.total for start in starts], "ms"),
        "CPU": Series([start.cpu for start in starts], "ms"),
        "peak memory": Series([start.peak_memory for start in starts], "MB"),
    }
