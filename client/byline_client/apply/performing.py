"""The writes of an apply, one after the other. Each may be repeated, so an apply may be too."""

from collections.abc import Callable, Sequence
from typing import Literal

from byline_client.apply.kinds import Entry
from byline_client.apply.planning import Ask, Step
from byline_client.conversation import Created
from byline_client.errors import ClientError, ServiceUnavailable

Outcome = Literal["created", "changed", "unchanged"]


class PartlyApplied(ClientError):
    """Some documents are applied, and one could not be. The message names those that are not."""


def perform(
    steps: Sequence[Step],
    ask: Ask,
    *,
    report: Callable[[Outcome, Step, Entry], None],
    warn: Callable[[str], None],
) -> None:
    """Take the steps in order, and report each with its entry. Raises `PartlyApplied`.

    `warn` gets what the service says about a document that has no effect yet.
    """
    for number, step in enumerate(steps):
        try:
            outcome, entry = _take(step, ask, warn)
        except ClientError as error:
            left = ", ".join(each.wanted.title for each in steps[number + 1 :])
            raise PartlyApplied(
                f"{step.wanted.title} is not applied: {error}"
                + (f"\nNot applied after it: {left}." if left else "")
                + f"\n{number} of {len(steps)} documents are as they should be. A repeated apply"
                " continues there."
            ) from error
        report(outcome, step, entry)


def _take(step: Step, ask: Ask, warn: Callable[[str], None]) -> tuple[Outcome, Entry]:
    kind, wanted, before = step.kind, step.wanted, step.before
    if step.action == "keep" and before is not None:
        return "unchanged", before
    answer = ask(kind.write(wanted))
    if not isinstance(answer, dict):
        raise ServiceUnavailable("The answer of the service is no document.")
    for warning in answer.get("warnings") or []:
        warn(f"{wanted.title}: {warning.get('detail')}")
    entries = kind.entries([answer])
    if len(entries) != 1:
        raise ServiceUnavailable("The answer of the service is no role binding.")
    if isinstance(answer, Created):
        return "created", entries[0]
    # Without a list entry before, somebody else made it since the list was read.
    seen = {} if before is None else before
    is_same = answer.get("updated_at") == seen.get("updated_at")
    return "unchanged" if is_same else "changed", entries[0]
