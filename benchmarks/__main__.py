"""The command of the benchmark: `make bench`, or `python -m benchmarks --quick` for development.

Prints the results and, unless quick, writes them to docs/benchmarks.md. Exits with 1 if a budget is
missed.
"""

import argparse
import sys
from dataclasses import dataclass

from benchmarks import report
from benchmarks.measurements import CREATES_A_ROUND, TOKENS_A_ROUND, Bench, bench
from benchmarks.refreshing import TOKENS
from benchmarks.results import Promise, Series, cold_series, promises, registration

TITLES = {
    "byline": "Byline",
    "byline_by_role": "Byline, for a caller whose role is read",
    "console": "the web console: the page of all addresses",
    "boto3_only": "boto3 only, with byte code",
    "raw_floor": "raw verification and bare `put_item`",
    "usual_way": "the usual way, plain `sam build`",
    "usual_way_compiled": "the usual way, with byte code",
}
COLD = ("byline", "console", "boto3_only", "usual_way", "usual_way_compiled")
WARM = ("byline", "byline_by_role", "raw_floor", "usual_way_compiled")


@dataclass(frozen=True, slots=True)
class Rounds:
    """The number of rounds of each kind of measurement."""

    cold: int
    warm: int
    verification: int
    breakdown: int
    refreshing: int
    first: int


FULL = Rounds(cold=25, warm=61, verification=61, breakdown=15, refreshing=15, first=15)
QUICK = Rounds(cold=3, warm=9, verification=9, breakdown=3, refreshing=3, first=3)


def main() -> None:
    """Measure, print the results, and check the budgets."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, and nothing is written")
    quick = parser.parse_args().quick
    with bench() as built:
        found, measured = _measure(built, QUICK if quick else FULL)
    print(measured)
    if not quick:
        report.write(measured)
    if broken := [promise.what for promise in found if not promise.is_kept]:
        sys.exit(f"over budget: {'; '.join(broken)}")


def _measure(built: Bench, rounds: Rounds) -> tuple[list[Promise], str]:
    cold = built.cold_starts(COLD, rounds=rounds.cold)
    warm = built.warm_creates(WARM, rounds=rounds.warm)
    verification = built.verifications(rounds=rounds.verification)
    cold_pieces, warm_pieces = built.breakdowns(rounds=rounds.breakdown)
    refreshing = built.refreshing(rounds=rounds.refreshing)
    decisions = built.decisions(rounds=rounds.verification)
    first = built.first_requests(rounds=rounds.first)
    found = [
        *promises(cold, warm, verification, decisions),
        registration(*built.registrations(rounds=rounds.warm), warm["raw_floor"]),
        *refreshing.promises(),
        built.ticking(rounds=rounds.refreshing).promise(),
    ]
    parts = (
        report.circumstances("make bench"),
        f"Medians, in brackets the quartiles, of {rounds.cold} alternating rounds for cold starts"
        f" and memory, {rounds.warm} of {CREATES_A_ROUND} warm creates, {rounds.verification} of"
        f" {TOKENS_A_ROUND} verifications, {rounds.refreshing} of {TOKENS:,} refreshed tokens.",
        report.promise_table(found),
        "### Cold starts and memory",
        report.spread_table(
            "function", {TITLES[name]: cold_series(starts) for name, starts in cold.items()}
        ),
        "### Warm creates",
        report.median_table(
            "function", {TITLES[name]: Series(cpu, "ms CPU") for name, cpu in warm.items()}
        ),
        "### Cold starts by their first request",
        "Only a decision loads the policies and Cedar: a health check and `GET /v1/whoami` do not.",
        report.spread_table(
            "first request", {kind: cold_series(starts) for kind, starts in first.items()}
        ),
        "### Refreshing",
        report.median_table("what", refreshing.series()),
        "### Where Byline's cold start goes",
        report.median_table(
            "piece, in order", {name: Series(ms, "ms") for name, ms in cold_pieces.items()}
        ),
        "### Where Byline's warm create goes",
        report.median_table(
            "piece", {name: Series(cpu, "µs CPU") for name, cpu in warm_pieces.items()}
        ),
    )
    return found, "\n\n".join(parts)


if __name__ == "__main__":
    main()
