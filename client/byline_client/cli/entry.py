"""The start of the command `byline`. It imports Typer only where there is something to parse."""

import os
import sys

from byline_client.version import VERSION


def main() -> None:
    """Run the command line of the process, and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"byline {VERSION}\n")
        return
    from byline_client.cli.app import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:], os.environ))
