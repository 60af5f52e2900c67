"""The command line itself: its version, its help, and what it does not import."""

import re
import subprocess
import sys

import pytest
from byline_client import __version__
from byline_client.cli.app import COMMANDS

from tests.client.commands import CommandLine

HEAVY = (
    "httpx",
    "typer",
    "rich",
    "pydantic",
    "yaml",
    "keyring",
    "platformdirs",
    "anyio",
    "asyncio",
)


def imported_by(byline: CommandLine, arguments: "list[str]") -> "set[str]":
    """The packages of HEAVY that a command line imports."""
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: sys.stderr.write('imported ' + ' '.join(sys.modules)))\n"
        f"sys.argv = ['byline', *{arguments!r}]\n"
        "from byline_client.cli.entry import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=byline.whole_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    modules = done.stderr.rpartition("imported ")[2].split()
    assert "sys" in modules
    return {name.partition(".")[0] for name in modules} & {*HEAVY}


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_is_printed(byline: CommandLine, option: str) -> None:
    """`byline --version` prints the version and nothing else."""
    done = byline(option)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"byline {__version__}\n", "")


def test_version_imports_no_library(byline: CommandLine) -> None:
    """`byline --version` costs the start of Python, because it imports no library."""
    assert imported_by(byline, ["--version"]) == set()


def test_help_needs_no_http_client(byline: CommandLine) -> None:
    """A help text is written without what only a request needs."""
    assert imported_by(byline, ["whoami", "--help"]) <= {
        "typer",
        "pydantic",
    }  # Typer imports pydantic


def test_wrong_usage_exits_with_two(byline: CommandLine) -> None:
    """An unknown command and an unknown option end with 2 and a sentence."""
    for arguments in (["unknown"], ["whoami", "--unknown"]):
        done = byline(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "No such" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_two_examples(byline: CommandLine, command: str) -> None:
    """A person who asks for help sees how the command is used."""
    done = byline(command, "--help")
    assert done.returncode == 0
    examples = done.stdout.partition("Examples:")[2].split("\n")
    assert len([line for line in examples if re.match(rf" *byline (.* )?{command}\b", line)]) >= 2


def test_output_to_a_closed_pipe_ends_quietly(byline: CommandLine) -> None:
    """`byline … | head -0` leaves no traceback."""
    script = f"{sys.executable} -m byline_client --help | true"
    done = subprocess.run(
        ["sh", "-c", script],
        env=byline.whole_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
