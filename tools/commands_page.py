"""Writes docs/commands.md: the help text of every command of the client.

    python -m tools.commands_page

A test compares the page with the commands.
"""

import io
import os
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from unittest import mock

from byline_client.cli.app import COMMANDS, run

PAGE = Path(__file__).parents[1] / "docs/commands.md"
HEAD = """# Commands

The help text of every command of `byline`: its arguments, options and examples.
`make commands` writes this page.
For sign-in, credentials, variables and exit codes, see [Command line](cli.md).
"""


def page() -> str:
    """The text of the page."""
    return HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    for name, module in COMMANDS.items():
        yield f"\n## byline {name}\n```text\n{_help(name)}```\n"
        for subcommand in getattr(import_module(module), "SUBCOMMANDS", {}):
            yield f"\n### byline {name} {subcommand}\n```text\n{_help(name, subcommand)}```\n"


def _help(*words: str) -> str:
    """A help text, as on a terminal of 80 columns."""
    output = io.StringIO()
    # Typer and the library below it read the width from the environment.
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "80"}),
        redirect_stdout(output),
        suppress(SystemExit),
    ):
        run([*words, "--help"], {})
    lines = (line.rstrip() for line in output.getvalue().strip().splitlines())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
