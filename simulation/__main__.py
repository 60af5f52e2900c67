"""`make simulate`: run everything, print it, write it down, and fail where a goal is missed.

python -m simulation [scenario ...]     all scenarios, or these without writing anything down
"""

import gc
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from simulation.charts import draw
from simulation.deployment import VARIANTS
from simulation.outcome import Outcome
from simulation.report import drain_table, scenario_table, variants_table
from simulation.rivals import RIVALS
from simulation.run import run_ours, run_rival
from simulation.scenario import SCENARIOS, VARIANTS_SCENARIO, Scenario

PROCESSES = 2
DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "simulation.md"
RESULTS = "<!-- results: written by `make simulate` -->\n"


def main(names: list[str]) -> int:
    """Run the scenarios of these names, or all; 1 where ours misses a goal."""
    scenarios = [scenario for scenario in SCENARIOS if not names or scenario.name in names]
    with ProcessPoolExecutor(PROCESSES, initializer=gc.disable) as pool:
        # The longest first, so that no core waits for the other at the end.
        runs = {
            scenario.name: [
                pool.submit(run_ours, scenario),
                *(pool.submit(_run_rival, number, scenario) for number in range(len(RIVALS))),
            ]
            for scenario in reversed(scenarios)
        }
        variants = (
            {}
            if names
            else {
                name: pool.submit(run_ours, VARIANTS_SCENARIO, deployment=deployment)
                for name, deployment in VARIANTS.items()
            }
        )
        outcomes = {
            scenario.name: _printed(scenario, runs[scenario.name]) for scenario in scenarios
        }
        tried = {name: run.result() for name, run in variants.items()}
    ours = [outcomes[scenario.name][0] for scenario in scenarios]
    print(f"\nAfter the outage\n\n{drain_table(ours)}")
    if not names:
        print(f"\nHow the workers are run\n\n{variants_table(tried)}")
        _write_down(outcomes, ours, tried)
    missed = {outcome.scenario.name: outcome.missed() for outcome in ours}
    for name, goals in missed.items():
        print(f"{name} runners: {'; '.join(goals) or 'every goal reached'}")
    return int(any(missed.values()))


def _run_rival(number: int, scenario: Scenario) -> Outcome:
    return run_rival(RIVALS[number], scenario)


def _printed(scenario: Scenario, runs: list[Future[Outcome]]) -> list[Outcome]:
    outcomes = [run.result() for run in runs]
    print(f"\n{_title(scenario)}\n\n{scenario_table(outcomes)}", flush=True)
    return outcomes


def _write_down(
    outcomes: dict[str, list[Outcome]], ours: list[Outcome], variants: dict[str, Outcome]
) -> None:
    parts = []
    for name, of_scenario in outcomes.items():
        picture = f"simulation-{name}.png"
        draw(of_scenario, DOCS / picture)
        title = _title(of_scenario[0].scenario)
        parts.append(f"### {title}\n\n![{title}]({picture})\n\n{scenario_table(of_scenario)}\n")
    parts.append(f"### After the outage\n\n{drain_table(ours)}\n")
    parts.append(f"### How the workers are run\n\n{variants_table(variants)}\n")
    text, _, _ = PAGE.read_text().partition(RESULTS)
    PAGE.write_text(text + RESULTS + "\n" + "\n".join(parts))


def _title(scenario: Scenario) -> str:
    return f"{scenario.runners:,} runners, tokens of {scenario.lifetime} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
