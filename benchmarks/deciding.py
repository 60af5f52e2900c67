"""Measures one decision by the policies, in an interpreter that has the built function and layer.

Reads as JSON from standard input how many rounds to measure; writes for each kind and round the CPU
time of one decision, in microseconds. The policies were read, and the roles are at hand: how long
DynamoDB takes for those is part of a create's own row.
"""

import json
import sys
import time

from access import Access, Holder
from access_rows import ActsFor
from principals import Principal

DECISIONS_A_ROUND = 500


def main() -> None:
    """Measure."""
    issuer = "https://login.example.com/realms/people"
    ada = Principal("user", issuer, "7c0a5d1e-4f3b-4c55-9a35-2f0f6d3b8e11")
    nightly = Principal("application", issuer, "nightly")
    editor = frozenset({"project:editor"})
    context = {"source": "bearer", "verified": True}
    acts_for = ActsFor(ada, "{}", "research", "project:editor")
    kinds: dict[str, Access] = {
        "person": Access("research", (Holder(ada, editor),), None, context),
        "service_account": Access(
            "research", (Holder(nightly, editor), Holder(ada, editor)), acts_for, context
        ),
    }
    rounds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(json.load(sys.stdin)["rounds"] + 1):
        for kind, access in kinds.items():
            rounds[kind].append(_microseconds(access))
    print(json.dumps(rounds))


def _microseconds(access: Access) -> float:
    before = time.process_time_ns()
    for _ in range(DECISIONS_A_ROUND):
        assert access.may("create_run")
    return (time.process_time_ns() - before) / DECISIONS_A_ROUND / 1e3


if __name__ == "__main__":
    main()
