"""The options that many commands have."""

from typing import Annotated

import typer

Project = Annotated[str, typer.Option(help="The project. Default: BYLINE_PROJECT.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Until = Annotated[
    str, typer.Option(metavar="TIME", help="When it ends, as 2027-01-31T00:00:00Z. Default: never.")
]


def given(**members: object) -> dict[str, object]:
    """The members that have a value."""
    return {name: value for name, value in members.items() if value}
