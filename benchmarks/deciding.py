"""Measures one decision by the policies, in an interpreter that has the built function and layer.

Reads the number of rounds as JSON from standard input, and writes the CPU time of one decision for
each kind and round, in microseconds. A decision is "made" for a run that no decision was about
before, or "remembered". The policies and the roles are in memory already. `bare` is a question to
`cedarpy` alone, with one policy, one role and no schema.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count, islice

import cedarpy

from byline.identity.caller import Principal
from serve_runs.access.control import Access, RoleAssignment
from serve_runs.access.decisions import Resource
from serve_runs.access.standing import ActsFor

DECISIONS_A_ROUND = 500

BARE_POLICY = """permit (
    principal in Byline::Role::"project:editor", action == Byline::Action::"cancel_run", resource
);"""


def main() -> None:
    """Measure, and print the results as JSON."""
    issuer = "https://login.example.com/realms/people"
    ada = Principal("user", issuer, "7c0a5d1e-4f3b-4c55-9a35-2f0f6d3b8e11")
    nightly = Principal("application", issuer, "nightly")
    editor = frozenset({"project:editor"})
    context = {"source": "bearer", "verified": True}
    acts_for = ActsFor(ada, "{}", editor)
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
    policies = cedarpy.PolicySet.from_str(BARE_POLICY)
    role = {"type": "Byline::Role", "id": "project:editor"}
    entities = json.dumps([{"uid": ada.uid, "attrs": {}, "parents": [role]}])

    def ask_cedar(run: Resource) -> bool:
        request = {
            "principal": ada.uid,
            "action": {"type": "Byline::Action", "id": "cancel_run"},
            "resource": run.uid,
            "context": "{}",
        }
        return cedarpy.is_authorized(request, policies, entities).allowed

    rounds: dict[str, list[float]] = {}
    for _ in range(json.load(sys.stdin)["rounds"] + 1):
        rounds.setdefault("bare", []).append(
            _microseconds(ask_cedar, list(islice(runs, DECISIONS_A_ROUND)))
        )
        for who, access in accesses.items():
            new = list(islice(runs, DECISIONS_A_ROUND))
            for kind, asked in (("made", new), ("remembered", new[:1] * DECISIONS_A_ROUND)):
                rounds.setdefault(f"{who}, {kind}", []).append(
                    _microseconds(partial(access.may, "cancel_run"), asked)
                )
    print(json.dumps(rounds))


def _microseconds(decide: Callable[[Resource], bool], runs: Sequence[Resource]) -> float:
    """The CPU time of one decision, microseconds, as the mean over `runs`."""
    before = time.process_time_ns()
    for run in runs:
        assert decide(run)
    return (time.process_time_ns() - before) / len(runs) / 1e3


if __name__ == "__main__":
    main()
