"""`byline revoke`: the end of a role."""

import typer

from byline_client.cli.commands.grant import IsApplication, Issuer, Principal, Role
from byline_client.cli.options import Project
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import say
from byline_client.conversation import ServiceCall
from byline_client.principals import named

EXAMPLES = (
    "byline revoke project:editor grace@example.com --project research",
    "byline revoke runner:token-reader reader --application --project research",
)


def command(
    ctx: typer.Context,
    role: Role,
    principal: Principal,
    project: Project = "",
    application: IsApplication = False,
    issuer: Issuer = "",
) -> None:
    """Revoke a role in a project. It ends with the next request."""
    session = session_of(ctx)
    query = {"role": role, **named(principal, is_application=application, issuer=issuer)}
    path = path_in_project(session, project, "role-bindings")
    session.ask(ServiceCall("DELETE", path, query=query))
    say(f"{principal} no longer has {role}.")
