"""Runs, each kept on disk as soon as it is over: a stop loses nothing, and what is there is reused.

A run is known by its scenario, its rule, how its workers are run, and every source that it runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec

from simulation.deployment import Deployment
from simulation.outcome import Outcome
from simulation.rivals import RIVALS
from simulation.run import OURS, run_ours, run_rival
from simulation.scenario import Scenario

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".simulation"

WITHOUT_EFFECT = {
    *("__main__.py", "charts.py", "goals.py", "report.py", "results.py"),  # judge and show
    "handler.py",  # not run here
}
RIVALS_RUN = {"refresher.py", "retries.py"}
"""Of the worker, what runs for rivals too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Two days of a scenario by a rule."""

    scenario: Scenario
    rule: str
    deployment: Deployment


def outcome_of_run(run: Run) -> Outcome:
    """What came out of `run`: kept from before, or found out now."""
    path = KEPT / f"{run.scenario.name}-{_digest(run)}.msgpack"
    if path.exists():
        return msgspec.msgpack.decode(path.read_bytes(), type=Outcome)
    outcome = _run(run)
    KEPT.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(msgspec.msgpack.encode(outcome))
    unfinished.rename(path)
    return outcome


def _run(run: Run) -> Outcome:
    if run.rule == OURS:
        return run_ours(run.scenario, deployment=run.deployment)
    rule = next(rule for rule in RIVALS if rule.name == run.rule)
    return run_rival(rule, run.scenario, deployment=run.deployment)


def _digest(run: Run) -> str:
    return sha256(msgspec.json.encode(run) + _sources(run.rule)).hexdigest()[:16]


@cache
def _sources(rule: str) -> bytes:
    digest = sha256()
    for path in _paths(rule):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


def _paths(rule: str) -> Iterator[Path]:
    for folder in ("simulation", "functions/plan_refresh", "functions/refresh_tokens"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name not in WITHOUT_EFFECT and _is_run(path, rule):
                yield path
    yield from sorted((ROOT / "layers/identity/byline/refresh").glob("*.py"))


def _is_run(path: Path, rule: str) -> bool:
    if rule == OURS:
        return path.name != "rivals.py"
    return "refresh_tokens" not in path.parts or path.name in RIVALS_RUN
