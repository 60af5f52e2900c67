"""The command `byline` in a process of its own, as a person or a job runs it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class CommandLine:
    """The command with an environment of its own: nothing but `environ` and what Python needs."""

    config: Path
    environ: Mapping[str, str]

    def having(self, **environ: str) -> "CommandLine":
        """The command with more variables."""
        return replace(self, environ={**self.environ, **environ})

    def facing(self, url: str) -> "CommandLine":
        """The command with a project and a token for the service at `url`."""
        return self.having(BYLINE_URL=url, BYLINE_TOKEN="a.b.c", BYLINE_PROJECT="research")

    @property
    def whole_environment(self) -> dict[str, str]:
        """All variables of the process."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.config.parent),
            "PYTHONPATH": str(ROOT / "client"),
            "BYLINE_CONFIG_DIR": str(self.config),
            # No keyring of the machine: the tests must not read or change it.
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            **self.environ,
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A started process, with pipes for output."""
        return subprocess.Popen(
            [sys.executable, "-m", "byline_client", *arguments],
            env=self.whole_environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.config.parent,
        )

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The finished process."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=90)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)
