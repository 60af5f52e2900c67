"""The page of the command line has the commands, sources, variables and exit codes of the code."""

import inspect
import re
from importlib import import_module

from byline_client import errors
from byline_client.cli.app import COMMANDS
from byline_client.credentials.order import SOURCES

from tests.docs.documents import ROOT, section, table
from tools import commands_page

PAGE = "docs/cli.md"


def rows(heading: str, first: str) -> dict[str, str]:
    """The two columns of the table under a heading."""
    found = table(section(PAGE, f"## {heading}"), first)
    return {left.strip("`"): right for left, right in (row.values() for row in found)}


def test_every_command_is_listed_with_its_help_text() -> None:
    """The table of commands is that of `byline --help`, in its order."""
    described = {
        f"byline {name}": (inspect.getdoc(import_module(module).command) or "").splitlines()[0]
        for name, module in COMMANDS.items()
    }
    assert list(rows("Commands", "command").items()) == list(described.items())


def test_page_of_commands_has_their_help_texts() -> None:
    """Whoever reads the page knows every option; `make commands` writes it anew."""
    assert commands_page.PAGE.read_text() == commands_page.page()


def test_sources_of_credentials_are_listed_in_their_order() -> None:
    """The documented order is the order of the code."""
    found = [
        (name, needs.replace("`", "")) for name, needs in rows("Credentials", "source").items()
    ]
    assert found == [(source.name, source.needs.replace("`", "")) for source in SOURCES]


def test_every_variable_of_the_client_is_listed() -> None:
    """The table of variables names all that the client reads, and no other."""
    code = "".join(path.read_text() for path in (ROOT / "client/byline_client").rglob("*.py"))
    assert set(rows("Variables", "variable")) == set(re.findall(r"\bBYLINE_[A-Z_]+\b", code))


def test_exit_code_of_every_error_is_listed() -> None:
    """A script that reads the table knows every kind of error."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    codes = {str(kind.exit_code) for kind in kinds if issubclass(kind, errors.ClientError)}
    assert codes <= set(rows("Exit codes", "code"))
