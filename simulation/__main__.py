"""`make simulate`: run everything, print it, write it down, and fail where a goal is missed.

python -m simulation [scenario ...]     all scenarios, or these without writing anything down
"""

import gc
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from simulation.charts import draw
from simulation.deployment import deployed, variants
from simulation.goals import missed
from simulation.outcome import Outcome
from simulation.report import drain_table, scenario_table, variants_table
from simulation.results import Run, outcome_of_run
from simulation.rivals import RIVALS
from simulation.run import OURS
from simulation.scenario import SCENARIOS, VARIANTS_SCENARIO, Scenario

PROCESSES = 2
RULES = (OURS, *(rival.name for rival in RIVALS))
DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "simulation.md"
RESULTS = "<!-- results: written by `make simulate` -->\n"


def main(names: list[str]) -> int:
    """Run the scenarios of these names, or all; 1 where ours misses a goal."""
    scenarios = [scenario for scenario in SCENARIOS if not names or scenario.name in names]
    found = _run_all(scenarios, with_variants=not names)
    outcomes = {
        scenario.name: [found[_run(scenario, rule)] for rule in RULES] for scenario in scenarios
    }
    for scenario in scenarios:
        print(f"\n{_title(scenario)}\n\n{scenario_table(outcomes[scenario.name])}")
    ours = [outcomes[scenario.name][0] for scenario in scenarios]
    print(f"\nAfter the outage\n\n{drain_table(ours)}")
    if not names:
        tried = {name: found[run] for name, run in _variant_runs().items()}
        print(f"\nWhat decisions are worth\n\n{variants_table(tried)}")
        _write_down(outcomes, ours, tried)
    for outcome in ours:
        goals = missed(outcome)
        print(f"{outcome.scenario.name} runners: {'; '.join(goals) or 'every goal reached'}")
    return int(any(map(missed, ours)))


def _run_all(scenarios: Sequence[Scenario], *, with_variants: bool) -> dict[Run, Outcome]:
    """All outcomes. Ours first and the longest first, so that no core waits at the end."""
    longest_first = sorted(scenarios, key=lambda scenario: -scenario.runners / scenario.lifetime)
    runs = [_run(scenario, rule) for rule in RULES for scenario in longest_first]
    if with_variants:
        runs += _variant_runs().values()
    found: dict[Run, Outcome] = {}
    with ProcessPoolExecutor(PROCESSES, initializer=gc.disable, max_tasks_per_child=1) as pool:
        for run, outcome in zip(runs, pool.map(outcome_of_run, runs), strict=True):
            found[run] = outcome
            print(f"{len(found)} of {len(runs)}: {run.scenario.name} runners, {run.rule}")
    return found


def _run(scenario: Scenario, rule: str) -> Run:
    return Run(scenario=scenario, rule=rule, deployment=deployed())


def _variant_runs() -> dict[str, Run]:
    return {
        name: Run(scenario=VARIANTS_SCENARIO, rule=OURS, deployment=deployment)
        for name, deployment in variants().items()
    }


def _write_down(
    outcomes: Mapping[str, Sequence[Outcome]],
    ours: Sequence[Outcome],
    tried: Mapping[str, Outcome],
) -> None:
    parts = []
    for name, of_scenario in outcomes.items():
        picture = f"simulation-{name}.png"
        draw(of_scenario, DOCS / picture)
        title = _title(of_scenario[0].scenario)
        parts.append(f"### {title}\n\n![{title}]({picture})\n\n{scenario_table(of_scenario)}\n")
    parts.append(f"### After the outage\n\n{drain_table(ours)}\n")
    parts.append(f"### What decisions are worth\n\n{variants_table(tried)}\n")
    text, _, _ = PAGE.read_text().partition(RESULTS)
    PAGE.write_text(text + RESULTS + "\n" + "\n".join(parts))


def _title(scenario: Scenario) -> str:
    return f"{scenario.runners:,} runners, tokens of {scenario.lifetime} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
