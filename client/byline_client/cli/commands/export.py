"""`byline export`: what a project has, as documents for `byline apply`."""

import sys

import typer

from byline_client.cli.options import Project
from byline_client.cli.session import project_of, session_of
from byline_client.cli.terminal import say

EXAMPLES = (
    "byline export --project research > research.yaml",
    "byline export --project research | byline apply -f - --dry-run",
)


def command(
    ctx: typer.Context,
    project: Project = "",
) -> None:
    """Write what a project has as documents for `byline apply`. Secrets are names of variables."""
    # Imported here, so that `byline --help` needs neither YAML nor models.
    from byline_client.apply.exporting import exported, left_out, yaml_of  # noqa: PLC0415
    from byline_client.apply.planning import Present  # noqa: PLC0415

    session = session_of(ctx)
    home, present = project_of(session, project), Present(session.ask)
    for document in exported(home, present):
        sys.stdout.write(yaml_of(document))
    sys.stdout.flush()
    if others := left_out(home, present):
        say(f"{others} service accounts of other people are left out: only they can apply them.")
