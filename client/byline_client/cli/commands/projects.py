"""`byline projects`: your projects, and one of them."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from byline_client.cli.session import session_of
from byline_client.cli.terminal import put_facts, put_json, put_rows, say
from byline_client.conversation import ServiceCall
from byline_client.errors import Misused, ServiceUnavailable
from byline_client.listing import pages

EXAMPLES = (
    "byline projects",
    "byline projects show research --json",
)
MOST = 10_000
PATH = "/v1/projects"


def command(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[list | show PROJECT]", help="What to do.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the projects in which you have roles, or show one."""
    session = session_of(ctx)
    match words or ["list"]:
        case ["list"]:
            _list(session.ask, as_json=as_json)
        case ["show", name]:
            _show(session.ask(ServiceCall("GET", f"{PATH}/{quote(name, safe='')}")), as_json)
        case _:
            raise Misused("Use `byline projects` or `byline projects show PROJECT`.")


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


def _show(document: Any, as_json: bool) -> None:
    if not isinstance(document, dict) or "name" not in document:
        raise ServiceUnavailable("The answer of the service is no project.")
    if as_json:
        put_json(document)
        return
    row = _row(document)
    if document.get("project_admin"):
        row["roles"] = f"{row['roles']} (administers all projects)".strip()
    put_facts({name: value for name, value in row.items() if value})
