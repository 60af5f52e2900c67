"""`byline grant`: a role in a project for a person or an application."""

from typing import Annotated

import typer

from byline_client.cli.options import AsJson, Project
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put, put_json, say, say_warnings
from byline_client.conversation import ServiceCall
from byline_client.documents import object_of
from byline_client.principals import name_of, named, text_of_principal

EXAMPLES = (
    "byline grant project:editor grace@example.com --project research",
    "byline grant runner:token-reader reader --application --project research",
)
Role = Annotated[str, typer.Argument(help="The role, such as project:editor.")]
Principal = Annotated[
    str,
    typer.Argument(help="An e-mail address, a subject, kind:issuer#subject, or anonymous."),
]
IsApplication = Annotated[
    bool, typer.Option("--application", help="The subject is that of an application.")
]
Issuer = Annotated[str, typer.Option(help="The issuer of the subject, where it is not clear.")]


def command(
    ctx: typer.Context,
    role: Role,
    principal: Principal,
    project: Project = "",
    application: IsApplication = False,
    issuer: Issuer = "",
    as_json: AsJson = False,
) -> None:
    """Grant a role in a project. An e-mail address is resolved once."""
    session = session_of(ctx)
    body = {"role": role, **named(principal, is_application=application, issuer=issuer)}
    path = path_in_project(session, project, "role-bindings")
    document = object_of(session.ask(ServiceCall("PUT", path, body=body)), "role binding", "kind")
    if as_json:
        put_json(document)
    else:
        put(text_of_principal(document))
    say(f"{name_of(document) or 'anonymous'} has {role}.")
    say_warnings(document)
