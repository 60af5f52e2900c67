"""Measures one decision by the policies, in an interpreter that has the built function and layer.

Reads as JSON from standard input how many rounds to measure; writes for each kind and round the CPU
time of one decision, in microseconds: of one that is made, about a run that nobody asked of before,
and of one that is remembered. The policies were read, and the roles are at hand: how long DynamoDB
takes for those is part of a create's own row.
"""

import json
import sys
import time
from collections.abc import Sequence
from itertools import count, islice

from byline.identity.caller import Principal
from serve_runs.access.control import Access, RoleAssignment
from serve_runs.access.decisions import Resource
from serve_runs.access.store import ActsFor

DECISIONS_A_ROUND = 500


def main() -> None:
    """Measure."""
    issuer = "https://login.example.com/realms/people"
    ada = Principal("user", issuer, "7c0a5d1e-4f3b-4c55-9a35-2f0f6d3b8e11")
    nightly = Principal("application", issuer, "nightly")
    editor = frozenset({"project:editor"})
    context = {"source": "bearer", "verified": True}
    acts_for = ActsFor(ada, "{}", "research", "project:editor")
    accesses: dict[str, Access] = {
        "person": Access("research", (RoleAssignment(ada, editor),), None, context),
        "service_account": Access(
            "research",
            (RoleAssignment(nightly, editor), RoleAssignment(ada, editor)),
            acts_for,
            context,
        ),
    }
    runs = (Resource("Run", f"research/{number:026}") for number in count())
    rounds: dict[str, list[float]] = {}
    for _ in range(json.load(sys.stdin)["rounds"] + 1):
        for who, access in accesses.items():
            new = list(islice(runs, DECISIONS_A_ROUND))
            for kind, asked in (("made", new), ("remembered", new[:1] * DECISIONS_A_ROUND)):
                rounds.setdefault(f"{who}, {kind}", []).append(_microseconds(access, asked))
    print(json.dumps(rounds))


def _microseconds(access: Access, runs: Sequence[Resource]) -> float:
    """One decision of as many as there are `runs`, each about one of them."""
    before = time.process_time_ns()
    for run in runs:
        assert access.may("cancel_run", run)
    return (time.process_time_ns() - before) / len(runs) / 1e3


if __name__ == "__main__":
    main()
