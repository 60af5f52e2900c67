"""`byline projects`: your projects, and the life of one."""

import sys
import time
from typing import Annotated, Any

import typer

from byline_client.addresses import project_path
from byline_client.cli.options import AsJson
from byline_client.cli.session import session_of
from byline_client.cli.terminal import put, put_facts, put_json, put_rows, say
from byline_client.conversation import ServiceCall
from byline_client.documents import object_of
from byline_client.errors import Misused, RequestRefused
from byline_client.listing import pages

EXAMPLES = (
    "byline projects",
    "byline projects show research --json",
    "byline projects create research",
    "byline projects delete research --cancel-runs",
)
MOST = 10_000
PATH = "/v1/projects"
LONGEST_WAIT_SECONDS = 300
Name = Annotated[str, typer.Argument(metavar="PROJECT", help="The name of the project.")]


def command(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the projects in which you have roles; show, create or delete one."""
    if not ctx.invoked_subcommand:
        _list(session_of(ctx).ask, as_json=as_json)


def list_projects(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the projects in which you have roles."""
    _list(session_of(ctx).ask, as_json=as_json)


def show(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show a project: who created it, and your roles."""
    call = ServiceCall("GET", project_path(name))
    _show(object_of(session_of(ctx).ask(call), "project", "name"), as_json)


def create(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Create a project. You become its admin."""
    call = ServiceCall("POST", PATH, body={"name": name}, repeat=True)
    document = object_of(session_of(ctx).ask(call), "project", "name")
    if as_json:
        put_json(document)
    else:
        put(name)
    say(f"You are the admin of {name}.")


def delete(
    ctx: typer.Context,
    name: Name,
    cancel_runs: Annotated[
        bool, typer.Option("--cancel-runs", help="Cancel the pending and running runs.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the name again.")] = False,
) -> None:
    """Delete a project with its runners, credentials, agents and roles. Its name stays taken.

    Roles end at once. The end takes a minute, until no request can be under way any more. After an
    interruption, the same command goes on.
    """
    if not yes:
        _confirm(name)
    session, is_begun = session_of(ctx), False
    query = {"live_runs": "cancel"} if cancel_runs else None
    while True:
        try:
            answer = session.ask(ServiceCall("DELETE", project_path(name), query=query))
        except RequestRefused as refused:
            if is_begun and refused.status == 404:
                break  # the answer to the last request was lost
            raise
        document = object_of(answer, "project", "name")
        ended = document.get("ended")
        for kind, number in ended.items() if isinstance(ended, dict) else ():
            if number:
                say(f"ended: {number} {str(kind).replace('_', ' ')}")
        wait = document.get("retry_after_seconds")
        if document.get("complete") is True or not isinstance(wait, int):
            break
        if not is_begun:
            say("waiting until no request can be under way any more")
        is_begun = True
        time.sleep(min(max(wait, 0), LONGEST_WAIT_SECONDS))
    say(f"{name} is deleted. Its audit records stay.")


SUBCOMMANDS = {"list": list_projects, "show": show, "create": create, "delete": delete}


def _confirm(name: str) -> None:
    """Ask for the name of the project to delete. Raises `Misused`."""
    if not sys.stdin.isatty():
        raise Misused("Confirm the deletion with --yes.")
    if typer.prompt(f"Type {name} to delete the project", err=True) != name:
        raise Misused("Another name was typed, so nothing is deleted.")


def _list(ask: Any, *, as_json: bool) -> None:
    found: list[dict[str, Any]] = []
    document: dict[str, Any] = {}
    for document in pages(ask, PATH, "projects", most=MOST):
        found += document["projects"]
    if document.get("all_projects"):
        say("You administer all projects. These are the ones where you have roles too.")
    if document.get("complete") is False:
        say("Roles of an earlier version may be missing: the operator has to run index_people.")
    found.sort(key=lambda project: str(project.get("name")))
    if as_json:
        put_json(found)
        return
    put_rows(map(_row, found), columns=("name", "roles", "created", "by"))


def _row(project: dict[str, Any]) -> dict[str, str]:
    creator = project.get("created_by") or {}
    return {
        "name": str(project.get("name")),
        "roles": " ".join(map(str, project.get("roles") or ())),
        "created": str(project.get("created_at") or "")[:19].replace("T", " "),
        "by": str(creator.get("name") or ""),
    }


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        put_json(document)
        return
    row = _row(document)
    if document.get("project_admin"):
        row["roles"] = f"{row['roles']} (administers all projects)".strip()
    row["deleted"] = str(document.get("deleted_at") or "")[:19].replace("T", " ")
    put_facts({name: value for name, value in row.items() if value})
