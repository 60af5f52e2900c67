"""`byline audit`: who did what in a project, and when."""

from typing import Annotated, Any

import typer

from byline_client.cli.moments import moment
from byline_client.cli.options import AsJson, Project
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put_json, put_rows
from byline_client.listing import listed

EXAMPLES = (
    "byline audit --project research --since 2d",
    "byline audit --project research --person ada@example.com --action cancel_run --json",
)


def command(
    ctx: typer.Context,
    project: Project = "",
    since: Annotated[
        str, typer.Option(metavar="TIME", help="An age such as 2d or 30m, or a date and time.")
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="The time before which to end.")] = "",
    person: Annotated[
        str, typer.Option(help="Only of this person: me, a subject, an e-mail or a principal.")
    ] = "",
    action: Annotated[str, typer.Option(help="Only this action, such as cancel_run.")] = "",
    resource: Annotated[
        str, typer.Option(metavar="TYPE", help="Only about resources of this type, such as runner.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most records to list.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List who did what in a project, the newest first."""
    session = session_of(ctx)
    path = path_in_project(session, project, "audit")
    query = {
        "person": person or None,
        "action": action or None,
        "resource": resource or None,
        "since": moment(since, "--since"),
        "until": moment(until, "--until"),
    }
    found = list(listed(session.ask, path, "records", most=limit, query=query))
    if as_json:
        put_json(found)
        return
    put_rows(map(_row, found), columns=("id", "at", "who", "action", "resource", "for"))


def _row(record: dict[str, Any]) -> dict[str, str]:
    who, resource = record.get("who") or {}, record.get("resource") or {}
    actor, person = who.get("actor") or {}, who.get("on_behalf_of") or {}
    return {
        "id": str(record.get("id")),
        "at": str(record.get("at", ""))[:19].replace("T", " "),
        "who": str(actor.get("name") or record.get("principal")),
        "action": str(record.get("action")),
        "resource": f"{resource.get('type')} {resource.get('id')}",
        "for": str(person.get("name") or ""),
    }
