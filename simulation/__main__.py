"""Simulate fleets under all rules, print the results, and fail if Byline misses a goal.

A fleet is named like `1000on20x900`: runners, tokens, and the tokens' lifetime in seconds. In
`100x900` each runner has a token of its own.
"""

import gc
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial

from simulation.goals import missed
from simulation.outcome import Outcome
from simulation.page import write_section
from simulation.report import MINTS, TOKENS, table
from simulation.rival_rules import rules_and_forms
from simulation.run import OURS, run
from simulation.scenario import Scenario

FLEETS = ("5000on100x900", "100x900", "100x1800")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; 1 if a run of Byline misses a goal."""
    parser = ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("fleets", nargs="*", type=Scenario.named, help=" ".join(FLEETS))
    parser.add_argument("--only-byline", action="store_true", help="leave the other rules out")
    parser.add_argument("--processes", type=int, default=os.process_cpu_count(), help="all cores")
    parser.add_argument("--write", action="store_true", help="write docs/simulation.md")
    options = parser.parse_args(arguments)
    goals: list[str] = []
    for scenario in options.fleets or map(Scenario.named, FLEETS):
        names = [OURS]
        if not options.only_byline:
            names += [rule.name for rule in rules_and_forms(scenario.lifetime)]
        outcomes = _outcomes(scenario, names, processes=options.processes)
        print(f"\n{scenario.title}\n\n{table(TOKENS, outcomes)}\n\n{table(MINTS, outcomes)}\n")
        if options.write:
            write_section(scenario, outcomes, today=datetime.now(UTC).date())
        goals += [f"{scenario.title}: {goal}" for goal in missed(outcomes[0])]
    print("\n".join(goals) or "Byline reaches every goal.")
    return int(bool(goals))


def _outcomes(scenario: Scenario, names: Sequence[str], *, processes: int) -> list[Outcome]:
    """The outcomes of all rules in order, computed side by side, each in a new process."""
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(processes, initializer=gc.disable, max_tasks_per_child=1) as pool:
        for outcome in pool.map(partial(run, scenario), names):
            outcomes.append(outcome)
            result = f"{outcome.rule}: {outcome.expired.unexplained:,} expired, unexplained"
            print(f"{scenario.title}, {len(outcomes)} of {len(names)}: {result}", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
