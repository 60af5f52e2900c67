"""`byline apply` from its files to its last write: read, check, plan, show, perform, prune."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from byline_client.apply.documents import Wanted, wanted_documents
from byline_client.apply.files import read_sources
from byline_client.apply.kinds import Entry
from byline_client.apply.kustomization import read_kustomization
from byline_client.apply.performing import Outcome, PartlyApplied, perform
from byline_client.apply.planning import Ask, Present, Step, planned
from byline_client.apply.sets import AppliedSet, Member, Pruning, mark_of, member_of, pruning
from byline_client.apply.showing import deletion_line, plan_lines, style_of, summary
from byline_client.cli.terminal import put, put_styled, say
from byline_client.errors import ClientError, Misused, RequestRefused


def read_wanted(
    sources: Sequence[str], kustomization: str, environ: Mapping[str, str], *, project: str
) -> list[Wanted]:
    """The documents of files, or of a kustomization. Raises `Misused` with all their faults."""
    found = read_kustomization(Path(kustomization)) if kustomization else read_sources(sources)
    if not found:
        raise Misused("There is no document.")
    now = datetime.now(timezone.utc)
    return wanted_documents(found, environ, project=project, now=now)


@dataclass(frozen=True)
class Choices:
    """The options of an apply. `confirm` asks whether to delete so many.

    `set_name`: empty for no set. `project`: one whose leftovers are deleted also where no document
    is for it any more. `yes`: delete without asking, but nothing that a person may have made.
    """

    set_name: str
    project: str
    prune: bool
    dry_run: bool
    yes: bool
    confirm: Callable[[int], bool]


@dataclass
class _Part:
    """The part of an apply in one project, with the set that it changes."""

    applied: AppliedSet
    steps: list[Step]
    leftovers: Pruning


def apply(wanted: Sequence[Wanted], ask: Ask, choices: Choices) -> None:
    """Make the service have the documents, or show what would change. Raises `ClientError`."""
    present = Present(ask)
    steps = planned(wanted, present)
    projects = {each.project for each in wanted}
    if choices.prune and choices.project:
        projects.add(choices.project)
    parts = [
        _part(project, [step for step in steps if step.wanted.project == project], present, choices)
        for project in sorted(projects if choices.set_name else ())
    ]
    count = sum(len(part.leftovers.deletions) for part in parts)
    if choices.dry_run:
        _show(steps, parts, choices, count)
        return
    if choices.prune and count:
        for line in _deletion_lines(parts):
            say(line)
        if not choices.yes and not choices.confirm(count):
            raise ClientError("Nothing is applied.")
    for part in parts:
        _announce(part, choices)
    entries = _perform(steps, {part.applied.project: part.applied for part in parts}, ask)
    if choices.prune:
        for part in parts:
            _delete(part, entries, ask, with_doubt=not choices.yes)
    elif count:
        say(f"{count} of the set {choices.set_name} are in no document: --prune deletes them.")


def _part(project: str, steps: list[Step], present: Present, choices: Choices) -> _Part:
    applied = AppliedSet(project, choices.set_name, present.ask)
    return _Part(applied, steps, pruning(applied, steps, present))


def _show(steps: list[Step], parts: list[_Part], choices: Choices, count: int) -> None:
    lines = [*plan_lines(steps), *(_deletion_lines(parts) if choices.prune else ())]
    for line in lines:
        put_styled(line, style_of(line))
    deleted = f", {count} to delete" if choices.prune else ""
    say(f"Dry run: {summary(steps)}{deleted}.")


def _deletion_lines(parts: list[_Part]) -> list[str]:
    return [
        deletion_line(part.applied.project, deletion)
        for part in parts
        for deletion in part.leftovers.deletions
    ]


def _announce(part: _Part, choices: Choices) -> None:
    """Tell the set what is about to be made. Without the right to it, only --prune is refused."""
    made = {member_of(step) for step in part.steps if step.action == "create"}
    try:
        part.applied.change(
            add={member: "" for member in made if member is not None}, remove=part.leftovers.gone
        )
    except RequestRefused as refused:
        if choices.prune:
            raise
        say(f"What is made is not kept as the set {choices.set_name}: {refused}")


def _perform(
    steps: list[Step], sets: Mapping[str, AppliedSet], ask: Ask
) -> set[tuple[str, Member]]:
    """Take the steps. Returns what the documents are at the service, by project."""
    done: Counter[Outcome] = Counter()
    entries: set[tuple[str, Member]] = set()
    made: defaultdict[str, dict[Member, str]] = defaultdict(dict)
    not_made: defaultdict[str, list[Member]] = defaultdict(list)

    def report(outcome: Outcome, step: Step, entry: Entry) -> None:
        done[outcome] += 1
        project = step.wanted.project
        member = Member(step.wanted.document.kind, step.kind.key(entry))
        entries.add((project, member))
        if outcome != "unchanged":
            put(f"{step.wanted.title} {outcome}")
        if outcome == "created":
            made[project][member] = mark_of(entry)
            if step.kind.key_of(step.wanted) is None and project in sets:
                _change(sets[project], add=made[project])
        elif step.action == "create":
            not_made[project].append(member)

    try:
        perform(steps, ask, report=report, warn=say)
    except PartlyApplied as error:
        # A write without an answer may have happened. A refused one has not.
        first = done.total() + (not isinstance(error.__cause__, RequestRefused))
        for step in steps[first:]:
            if step.action == "create" and (member := member_of(step)) is not None:
                not_made[step.wanted.project].append(member)
        raise
    finally:
        for project, applied in sets.items():
            _change(applied, add=made[project], remove=not_made[project])
    say(f"{done['created']} created, {done['changed']} changed, {done['unchanged']} unchanged.")
    return entries


def _change(
    applied: AppliedSet, *, add: Mapping[Member, str], remove: Iterable[Member] = ()
) -> None:
    """Change a set after a write, which counts for itself. The next apply mends what is missing."""
    try:
        applied.change(add=add, remove=remove)
    except ClientError as error:
        say(f"The set is not changed: {error}")


def _delete(part: _Part, entries: set[tuple[str, Member]], ask: Ask, *, with_doubt: bool) -> None:
    """Delete what no document describes, the last kind first. Raises `ClientError`."""
    project = part.applied.project
    for member, call, doubt in part.leftovers.deletions:
        if (project, member) in entries:
            continue  # a document is this entry, which only the answer of the service said
        if doubt and not with_doubt:
            say(f"{member.kind} {project}/{member.key} stays, {doubt}. Without --yes, you decide.")
            continue
        try:
            ask(call)
        except RequestRefused as refused:
            if refused.status != 404:
                raise
        part.applied.change(remove=[member])
        put(f"{member.kind} {project}/{member.key} deleted")
