"""`byline cancel`: the end of runs by somebody's decision."""

from typing import Annotated
from urllib.parse import quote

import typer

from byline_client.cli.session import project_of, session_of
from byline_client.cli.terminal import put
from byline_client.conversation import ServiceCall

EXAMPLES = (
    "byline cancel 01K9ZB4M7YV5T3Q8RXN2D6H1WC --project research",
    "byline runs --project p --mine --status running | xargs byline cancel --project p",
)


def command(
    ctx: typer.Context,
    runs: Annotated[list[str], typer.Argument(help="The ids of the runs.")],
    project: Annotated[str, typer.Option(help="The project. Default: BYLINE_PROJECT.")] = "",
) -> None:
    """Cancel runs. The service records that you did."""
    session = session_of(ctx)
    path = f"/v1/projects/{quote(project_of(session, project), safe='')}/runs"
    for run in runs:
        session.ask(ServiceCall("POST", f"{path}/{quote(run, safe='')}/cancel"))
        put(run)
