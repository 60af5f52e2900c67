"""`byline agents`: the agents that may act in a project for whoever's token they carry."""

from typing import Annotated, Any

import typer

from byline_client.cli.options import AsJson, Project, Until, given
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put, put_json, put_rows, say
from byline_client.conversation import ServiceCall
from byline_client.documents import object_of
from byline_client.listing import listed

EXAMPLES = (
    "byline agents --project research",
    "byline agents allow planner --role project:editor --project research",
    "byline agents remove planner --project research",
)
MOST = 10_000
Agent = Annotated[str, typer.Argument(help="The name of the agent in the project.")]


def command(ctx: typer.Context, project: Project = "", as_json: AsJson = False) -> None:
    """List, allow and remove the agents that act in a project for others."""
    session = session_of(ctx)
    if ctx.invoked_subcommand:
        session.project = project
        return
    found = list(
        listed(session.ask, path_in_project(session, project, "agents"), "agents", most=MOST)
    )
    if as_json:
        put_json(found)
        return
    put_rows(map(_row, found), columns=("agent", "roles", "subject", "issuer", "until"))


def allow(
    ctx: typer.Context,
    agent: Agent,
    project: Project = "",
    role: Annotated[
        list[str] | None,
        typer.Option(help="The most that it may do; repeat for more. Default: project:editor."),
    ] = None,
    subject: Annotated[str, typer.Option(help="Its subject. Default: its name.")] = "",
    issuer: Annotated[str, typer.Option(help="Its issuer, where several are trusted.")] = "",
    until: Until = "",
    as_json: AsJson = False,
) -> None:
    """Let an agent act for whoever's token it carries, within the rights of both."""
    session = session_of(ctx)
    body = given(roles=role, subject=subject, issuer=issuer, expires_at=until)
    path = path_in_project(session, project, "agents", agent)
    document = object_of(session.ask(ServiceCall("PUT", path, body=body)), "agent", "name")
    if as_json:
        put_json(document)
    else:
        put(agent)
    say(f"{agent} may act with {_row(document)['roles']}.")


def remove(ctx: typer.Context, agent: Agent, project: Project = "") -> None:
    """Let an agent act no more. It ends with its next request."""
    session = session_of(ctx)
    session.ask(ServiceCall("DELETE", path_in_project(session, project, "agents", agent)))
    say(f"{agent} may no longer act for others.")


SUBCOMMANDS = {"allow": allow, "remove": remove}


def _row(agent: dict[str, Any]) -> dict[str, str]:
    roles = agent.get("roles")
    return {
        "agent": str(agent.get("name")),
        "roles": ", ".join(map(str, roles)) if isinstance(roles, list) else "",
        "subject": str(agent.get("subject")),
        "issuer": str(agent.get("issuer")),
        "until": str(agent.get("expires_at") or "")[:19].replace("T", " "),
    }
