"""A plan as text: a line for each document that is not kept, and lines for what changes in it."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from byline_client.apply.planning import Step
from byline_client.apply.sets import MemberDeletion

SIGNS = {"create": "+", "change": "~", "compare": "?", "keep": "="}
STYLES = {"+": "green", "-": "red", "~": "yellow", "?": "dim"}


def plan_lines(steps: Iterable[Step]) -> Iterator[str]:
    """The lines of a plan. Each begins with its sign, or four spaces and the sign of a member."""
    for step in steps:
        if step.action == "keep":
            continue
        why = "  (the service compares what it does not show)" if step.action == "compare" else ""
        yield f"{SIGNS[step.action]} {step.wanted.title}{why}"
        for change in step.changes:
            if step.before is not None and change.before is not None:
                yield f"    - {change.member}: {_text(change.before)}"
            if change.after is not None:
                yield f"    + {change.member}: {_text(change.after)}"
        if step.wanted.secret is not None and step.action != "compare":
            yield f"    {SIGNS[step.action]} token: (secret)"


def deletion_line(project: str, deletion: MemberDeletion) -> str:
    """The line of a deletion."""
    kind, key = deletion.member
    return f"- {kind} {project}/{key}" + (f"  ({deletion.doubt})" if deletion.doubt else "")


def summary(steps: Iterable[Step]) -> str:
    """How many documents would be created, changed, compared and kept."""
    counts = dict.fromkeys(SIGNS, 0)
    for step in steps:
        counts[step.action] += 1
    return ", ".join(f"{count} to {action}" for action, count in counts.items())


def style_of(line: str) -> str:
    """The colour of a line on a terminal."""
    return STYLES.get(line.strip()[:1], "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
