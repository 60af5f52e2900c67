"""`byline apply` from its files to its last write: read, check, plan, show, perform."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from byline_client.apply.documents import Wanted, wanted_documents
from byline_client.apply.files import read_sources
from byline_client.apply.kustomization import read_kustomization
from byline_client.apply.performing import Outcome, perform
from byline_client.apply.planning import Ask, Present, Step, planned
from byline_client.apply.showing import plan_lines, style_of, summary
from byline_client.cli.terminal import put, put_styled, say
from byline_client.errors import Misused


def read_wanted(
    sources: Sequence[str], kustomization: str, environ: Mapping[str, str], *, project: str
) -> list[Wanted]:
    """The documents of files, or of a kustomization. Raises `Misused` with all their faults."""
    found = read_kustomization(Path(kustomization)) if kustomization else read_sources(sources)
    if not found:
        raise Misused("There is no document.")
    now = datetime.now(timezone.utc)
    return wanted_documents(found, environ, project=project, now=now)


def apply(wanted: Sequence[Wanted], ask: Ask, *, dry_run: bool) -> None:
    """Make the service have the documents, or show what would change. Raises `ClientError`."""
    present = Present(ask)
    steps = planned(wanted, present)
    if dry_run:
        for line in plan_lines(steps):
            put_styled(line, style_of(line))
        say(f"Dry run: {summary(steps)}.")
        return
    done: Counter[Outcome] = Counter()

    def report(outcome: Outcome, step: Step) -> None:
        done[outcome] += 1
        if outcome != "unchanged":
            put(f"{step.wanted.title} {outcome}")

    perform(steps, ask, present, report=report, warn=say)
    say(f"{done['created']} created, {done['changed']} changed, {done['unchanged']} unchanged.")
