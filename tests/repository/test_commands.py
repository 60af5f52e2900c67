"""The documents, the workflows and `.ci/run` name the commands that the Makefile has."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.repository.files import ROOT, tracked


def helps() -> dict[str, str]:
    """The targets of the Makefile with their help texts."""
    lines = re.findall(r"^([a-z0-9-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.M)
    return dict(lines)


def named(text: str) -> set[str]:
    """The targets of a text's make commands, without options and variables."""
    commands = re.findall(r"\bmake ([^\n;&|`>]+)", text)
    words = (word for command in commands for word in shlex.split(command))
    return {word for word in words if not word.startswith("-") and "=" not in word}


def commands_of(file: Path) -> Iterator[str]:
    """The parts of a file that are shell commands, or quoted as such."""
    text = file.read_text()
    yield from re.findall(r"`(make [a-z][^`]*)`", text)
    if file.suffix == ".md":
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
            yield from re.findall(r"^\s*(make .+)$", block, re.M)
    if file.parent.name == "workflows":
        yield from re.findall(r"^\s*- run: (make .+)$", text, re.M)
    if file == ROOT / ".ci/run":
        yield from re.findall(r"(?:^|;)\s*(make .+)$", text, re.M)


def targets_of(path: str) -> set[str]:
    """The targets that a file runs or names."""
    return {target for command in commands_of(ROOT / path) for target in named(command)}


def test_every_target_is_phony_and_has_a_help_text() -> None:
    """`make help` lists all targets, and none depends on a file of its name."""
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z0-9-]+):(?!=)", makefile, re.M)
    phony = " ".join(re.findall(r"^\.PHONY: (.+)$", makefile, re.M)).split()
    assert sorted(targets) == sorted(helps())
    assert sorted(targets) == sorted(phony)


def test_contributing_lists_every_command_with_its_help_text() -> None:
    """The table of commands is that of `make help`."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `make ([a-z0-9-]+)` \| (.+) \|$", text, re.M)
    assert rows == list(helps().items())


def test_every_command_that_is_named_exists() -> None:
    """No document, docstring, template, workflow or script names a target that does not exist."""
    suffixes = {".md", ".py", ".yaml", ".yml", ".toml", ".in", ""}
    files = [path for path in tracked() if Path(path).suffix in suffixes]
    existing = helps().keys()
    unknown = {path: missing for path in files if (missing := targets_of(path) - existing)}
    assert unknown == {}


def test_github_runs_the_checks_that_guard_main() -> None:
    """The workflow of pull requests runs the targets of `.ci/run`."""
    assert targets_of(".github/workflows/ci.yml") == targets_of(".ci/run")
    assert {"lint", "types", "validate", "policies", "scan", "test"} <= targets_of(".ci/run")
