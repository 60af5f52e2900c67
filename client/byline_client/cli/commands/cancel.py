"""`byline cancel`: the end of runs by somebody's decision."""

from typing import Annotated

import typer

from byline_client.cli.options import Project
from byline_client.cli.session import path_in_project, session_of
from byline_client.cli.terminal import put
from byline_client.conversation import ServiceCall

EXAMPLES = (
    "byline cancel 01K9ZB4M7YV5T3Q8RXN2D6H1WC --project research",
    "byline runs --project p --mine --status running | xargs byline cancel --project p",
)


def command(
    ctx: typer.Context,
    runs: Annotated[list[str], typer.Argument(help="The ids of the runs.")],
    project: Project = "",
) -> None:
    """Cancel runs. The service records that you did."""
    session = session_of(ctx)
    paths = [path_in_project(session, project, "runs", run, "cancel") for run in runs]
    for run, path in zip(runs, paths, strict=True):
        session.ask(ServiceCall("POST", path))
        put(run)
