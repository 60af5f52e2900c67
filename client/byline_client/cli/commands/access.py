"""`byline access`: who may do what in a project, and why."""

from typing import Annotated, Any

import typer

from byline_client.cli.options import AsJson, Project
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put_json, put_rows, say
from byline_client.conversation import ServiceCall
from byline_client.documents import object_of
from byline_client.errors import Misused
from byline_client.listing import listed
from byline_client.principals import name_of, text_of_principal

EXAMPLES = (
    "byline access --project research --of grace@example.com",
    "byline access --project research --all",
)
MOST = 10_000


def command(
    ctx: typer.Context,
    project: Project = "",
    of: Annotated[
        str, typer.Option(metavar="PRINCIPAL", help="Of whom; default: you. See `byline grant`.")
    ] = "",
    everyone: Annotated[
        bool, typer.Option("--all", help="All principals with roles in the project.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what you or others may do in a project, and by which roles."""
    session = session_of(ctx)
    if everyone:
        if of:
            raise Misused("--all and --of exclude each other.")
        path = path_in_project(session, project, "role-bindings")
        found = list(listed(session.ask, path, "role_bindings", most=MOST))
        if as_json:
            put_json(found)
        else:
            put_rows(map(_binding, found), columns=("principal", "name", "roles"))
        return
    path = path_in_project(session, project, "access")
    call = ServiceCall("GET", path, query={"principal": of or None})
    document = object_of(session.ask(call), "description of access", "kind")
    if as_json:
        put_json(document)
        return
    say(f"{name_of(document) or 'anonymous'} ({text_of_principal(document)})")
    rows = [_role(each, "") for each in _list(document, "bindings")]
    if person := document.get("acts_for"):
        rows += [_role(each, name_of(person)) for each in _list(person, "bindings")]
        say(f"acts for {name_of(person)}: what the roles of both permit")
    put_rows(rows, columns=("role", "by", "of", "permits"))


def _list(document: Any, member: str) -> list[Any]:
    found = document.get(member) if isinstance(document, dict) else None
    return found if isinstance(found, list) else []


def _role(binding: Any, person: str) -> dict[str, str]:
    entry = object_of(binding, "role")
    return {
        "role": str(entry.get("role")),
        "by": str(entry.get("by")).replace("_", " "),
        "of": person,
        "permits": ", ".join(map(str, _list(entry, "permits"))),
    }


def _binding(entry: dict[str, Any]) -> dict[str, str]:
    return {
        "principal": text_of_principal(entry),
        "name": name_of(entry),
        "roles": ", ".join(map(str, _list(entry, "roles"))),
    }
