"""Completion of command lines in a shell, as the shell asks for it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.commands import CommandLine


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("byline cre", ["credentials"]),
        ("byline credentials d", ["delete"]),
        ("byline credentials put --prov", ["--provider"]),
        ("byline --vers", ["--version"]),
    ],
)
def test_bash_completes_commands_and_options(
    byline: CommandLine, tmp_path: Path, words: str, found: "list[str]"
) -> None:
    """The script that the command writes completes its commands, subcommands and options."""
    command = tmp_path / "byline"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m byline_client "$@"\n')
    command.chmod(0o755)
    script = (
        "source <(byline --show-completion bash)\n"
        f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        '_byline_completion byline; echo "${COMPREPLY[@]}"\n'
    )
    environ = byline.whole_environment
    done = subprocess.run(
        ["bash", "-c", script],
        env={**environ, "PATH": f"{tmp_path}:{environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == found, done.stderr
