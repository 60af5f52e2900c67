"""`byline apply`: role bindings, agents, service accounts, credentials and runners from files."""

import sys
from typing import Annotated

import typer

from byline_client.cli.session import session_of
from byline_client.cli.terminal import put_json
from byline_client.errors import Misused

EXAMPLES = (
    "byline apply -f team.yaml --project research --dry-run",
    "byline apply -k overlays/production --set team-production --prune",
)


def command(
    ctx: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="A file, a folder, or - for standard input."),
    ] = None,
    kustomization: Annotated[
        str, typer.Option("--kustomize", "-k", metavar="DIR", help="A folder with a kustomization.")
    ] = "",
    project: Annotated[
        str, typer.Option(help="The project of documents without one. Default: BYLINE_PROJECT.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Delete what the --set made and no document describes."),
    ] = False,
    set_name: Annotated[
        str,
        typer.Option("--set", metavar="NAME", help="Keep what is made as this set."),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Write the JSON Schema of documents, for editors.")
    ] = False,
) -> None:
    """Make projects have the role bindings, agents, credentials and runners that files describe."""
    session = session_of(ctx)
    # Imported here, so that `byline --help` needs neither YAML nor models.
    if schema:
        from byline_client.apply.schema import json_schema  # noqa: PLC0415

        put_json(json_schema())
        return
    if bool(files) is bool(kustomization):
        raise Misused("Name files with -f, or the folder of a kustomization with -k.")
    from byline_client.apply.applying import Choices, apply, read_wanted  # noqa: PLC0415
    from byline_client.apply.sets import require_name_of_set  # noqa: PLC0415

    home = project or session.environ.get("BYLINE_PROJECT", "")
    require_name_of_set(set_name, prune=prune)
    wanted = read_wanted(files or [], kustomization, session.environ, project=home)

    def confirm(count: int) -> bool:
        if not sys.stdin.isatty():
            raise Misused("--prune deletes something. Confirm with --yes.")
        return typer.confirm(f"Delete these {count}?", err=True)

    apply(wanted, session.ask, Choices(set_name, home, prune, dry_run, yes, confirm))
