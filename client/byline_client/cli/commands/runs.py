"""`byline runs`: lists of runs."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from byline_client.cli.session import project_of, session_of
from byline_client.cli.terminal import put_json, put_rows
from byline_client.errors import Misused
from byline_client.listing import listed

EXAMPLES = (
    "byline runs --project research --status running",
    "byline runs --mine --all-projects --json",
)


def command(
    ctx: typer.Context,
    project: Annotated[str, typer.Option(help="The project. Default: BYLINE_PROJECT.")] = "",
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="Runs of one creator in all projects.")
    ] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only runs that you created.")] = False,
    by: Annotated[str, typer.Option(metavar="SUBJECT", help="Only runs of this creator.")] = "",
    status: Annotated[
        str, typer.Option(help="pending, running, succeeded, failed or cancelled.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most runs to list.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List runs, the newest first."""
    session = session_of(ctx)
    if mine and by:
        raise Misused("--mine and --by exclude each other.")
    creator = "me" if mine or (all_projects and not by) else by
    path = "/v1/runs"
    if not all_projects:
        path = f"/v1/projects/{quote(project_of(session, project), safe='')}/runs"
    query = {"created_by": creator or None, "status": status or None}
    found = list(listed(session.ask, path, "runs", most=limit, query=query))
    if as_json:
        put_json(found)
        return
    put_rows(map(_row, found), columns=("id", "status", "name", "created", "by", "project"))


def _row(run: dict[str, Any]) -> dict[str, str]:
    who = run.get("who") or {}
    creator = who.get("executed_by") or {}
    return {
        "id": str(run.get("id")),
        "status": str(run.get("status")),
        "name": str(run.get("name") or ""),
        "created": str(run.get("created_at", ""))[:19].replace("T", " "),
        "by": str(creator.get("name") or ""),
        "project": str(run.get("project")),
    }
