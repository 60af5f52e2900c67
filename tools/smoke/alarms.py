"""No alarm of the stack is on."""

from collections import Counter
from itertools import batched

from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed, NotChecked

NESTED = "Observability"
NAMES_A_CALL = 100


def check(surroundings: Surroundings, _: Cleanup) -> str:
    """Read the state of each alarm of the nested stack."""
    stack = surroundings.stack
    if NESTED not in stack.resources:
        raise NotChecked("Alarms is off")
    pages = stack.client("cloudformation").get_paginator("list_stack_resources")
    names = [
        resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=stack.resources[NESTED])
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::CloudWatch::Alarm"
    ]
    states: dict[str, str] = {}
    for some in batched(names, NAMES_A_CALL, strict=False):
        found = stack.client("cloudwatch").describe_alarms(AlarmNames=some, MaxRecords=100)
        states |= {alarm["AlarmName"]: alarm["StateValue"] for alarm in found["MetricAlarms"]}
    if missing := sorted(set(names) - states.keys()):
        raise Failed(f"{len(names)} alarms", f"deleted: {', '.join(missing)}")
    if on := sorted(name for name, state in states.items() if state == "ALARM"):
        raise Failed("all alarms OK", f"ALARM: {', '.join(on)}")
    counts = Counter(states.values())
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items(), reverse=True))
