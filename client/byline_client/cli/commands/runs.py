"""`byline runs`: lists of runs."""

from typing import Annotated, Any

import typer

from byline_client.cli.moments import moment
from byline_client.cli.options import AsJson, Project
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put_json, put_rows
from byline_client.errors import Misused
from byline_client.listing import listed

EXAMPLES = (
    "byline runs --project research --status failed --label team=ml --since 2d",
    "byline runs --mine --all-projects --json",
)


def command(
    ctx: typer.Context,
    project: Project = "",
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="Runs of one person in all projects.")
    ] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only runs that you created.")] = False,
    by: Annotated[
        str,
        typer.Option(metavar="PERSON", help="Only runs that this subject or e-mail created."),
    ] = "",
    represented: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="PERSON",
            help="All runs of a person, also those that applications created for it; or me.",
        ),
    ] = "",
    started_by: Annotated[
        str, typer.Option(metavar="PERSON", help="Only runs that this person started; or me.")
    ] = "",
    status: Annotated[
        str, typer.Option(help="pending, running, lost, succeeded, failed or cancelled.")
    ] = "",
    label: Annotated[
        str, typer.Option(metavar="KEY=VALUE", help="Only runs with this label.")
    ] = "",
    runner: Annotated[str, typer.Option(help="Only runs of this runner.")] = "",
    agent: Annotated[str, typer.Option(help="Only runs of this agent.")] = "",
    parent: Annotated[str, typer.Option(metavar="RUN", help="Only children of this run.")] = "",
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Created since then: 2d, 12h, or a time.")
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Created before then.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most runs to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    session = session_of(ctx)
    if sum(map(bool, (mine, by, represented))) > 1:
        raise Misused("--mine, --by and --for exclude each other.")
    creator = "me" if mine or (all_projects and not (by or represented)) else by
    path = "/v1/runs"
    if not all_projects:
        path = path_in_project(session, project, "runs")
    filters = {
        "created_by": creator,
        "person": represented,
        "started_by": started_by,
        "status": status,
        "label": label,
        "runner": runner,
        "agent": agent,
        "parent_run": parent,
        "since": moment(since, "--since"),
        "until": moment(until, "--until"),
    }
    query = {name: value or None for name, value in filters.items()}
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
