"""`byline show`: one run."""

from typing import Annotated, Any

import typer

from byline_client.cli.options import AsJson, Project
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put_facts, put_json
from byline_client.conversation import ServiceCall
from byline_client.documents import object_of

EXAMPLES = (
    "byline show 01K9ZB4M7YV5T3Q8RXN2D6H1WC --project research",
    "byline show 01K9ZB4M7YV5T3Q8RXN2D6H1WC --project research --json",
)


def command(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="The id of the run.")],
    project: Project = "",
    as_json: AsJson = False,
) -> None:
    """Show a run, and who created, started and ended it."""
    session = session_of(ctx)
    path = path_in_project(session, project, "runs", run)
    document = object_of(session.ask(ServiceCall("GET", path)), "run", "id")
    if as_json:
        put_json(document)
        return
    names = ("id", "project", "name", "status", "created_at", "updated_at", "agent", "runner")
    shown = (*names, "parent_run", "heartbeat_at", "lost_at", "reason", "exit_code")
    # An exit code of 0 is a fact too.
    facts = {name: str(document[name]) for name in shown if document.get(name) not in (None, "")}
    who = document.get("who")
    people = who.items() if isinstance(who, dict) else ()
    facts |= {name.replace("_", " "): _shown(person) for name, person in people if person}
    labels = document.get("labels")
    if isinstance(labels, dict) and labels:
        facts["labels"] = " ".join(f"{name}={value}" for name, value in labels.items())
    put_facts(facts)


def _shown(person: Any) -> str:
    if not isinstance(person, dict):
        return str(person)
    name, subject = str(person.get("name")), str(person.get("subject"))
    return name if name == subject else f"{name} ({subject})"
