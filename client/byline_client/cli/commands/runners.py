"""`byline runners`: the runners of a project, and whether their tokens are fresh."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from byline_client.cli.session import project_of, session_of
from byline_client.cli.terminal import put_json, put_rows
from byline_client.listing import listed

EXAMPLES = (
    "byline runners --project research",
    "byline runners --project research --failing --json",
)
MOST = 10_000


def command(
    ctx: typer.Context,
    project: Annotated[str, typer.Option(help="The project. Default: BYLINE_PROJECT.")] = "",
    failing: Annotated[
        bool, typer.Option("--failing", help="Only runners whose token cannot be refreshed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the runners of a project, with the state of their tokens."""
    session = session_of(ctx)
    path = f"/v1/projects/{quote(project_of(session, project), safe='')}/runners"
    found = [
        runner
        for runner in listed(session.ask, path, "runners", most=MOST)
        if not failing or runner.get("status") == "failing"
    ]
    if as_json:
        put_json(found)
        return
    put_rows(map(_row, found), columns=("runner", "status", "expires", "error"))


def _row(runner: dict[str, Any]) -> dict[str, str]:
    error = runner.get("last_error")
    detail = error.get("detail") or error.get("class") if isinstance(error, dict) else error
    return {
        "runner": str(runner.get("name")),
        "status": str(runner.get("status")),
        "expires": str(runner.get("expires_at") or "")[:19].replace("T", " "),
        "error": str(detail or ""),
    }
