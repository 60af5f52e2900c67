"""A shell for the examples of the documents, with the local stack in place of the service."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.stack import Stack
from tests.docs.documents import ROOT

HOST = "https://byline.example.com"
ISSUER = "https://issuer.example.com"
PREFIX = "byline-dev"
FUNCTIONS = f"""set -e
curl() {{ command curl --silent --show-error --fail-with-body "$@"; }}
aws() {{ PYTHONPATH={ROOT} {sys.executable} -m tests.docs.aws_command "$@"; }}
uvx() {{ [ "$1 $2" = "--from ./client" ] && shift 2; "$@"; }}
"""


@dataclass(frozen=True)
class ExampleShell:
    """Runs examples as they are printed, in `folder`, with `byline` as an installed command.

    Names of hosts and secrets are those of the stack, and `environ` has more variables.
    """

    stack: Stack
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def install(self) -> None:
        """Put the command `byline` on the path."""
        commands = self.folder / "bin"
        commands.mkdir()
        for name, module in (("byline", "byline_client"), ("browse", "tests.docs.browsing_person")):
            path = commands / name
            paths = f"{ROOT / 'client'}:{ROOT}"
            path.write_text(
                f'#!/bin/sh\nPYTHONPATH={paths} exec {sys.executable} -m {module} "$@"\n'
            )
            path.chmod(0o755)

    def start(self, example: str) -> "subprocess.Popen[str]":
        """A started example of the shell."""
        text = (
            example.replace(HOST, self.stack.url)
            .replace(ISSUER, self.stack.issuer)
            .replace(PREFIX, self.stack.secret_prefix)
        )
        environ = {
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "BYLINE_CONFIG_DIR": str(self.folder / "config"),
            "BYLINE_TOKEN_STORE": "file",
            "BROWSER": "browse %s &",
            **self.stack.aws.environment,
            "AWS_DEFAULT_REGION": os.environ["AWS_DEFAULT_REGION"],
            **self.environ,
        }
        return subprocess.Popen(
            ["bash", "-c", FUNCTIONS + text],
            env=environ,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, example: str) -> str:
        """The standard output of an example that must succeed."""
        with self.start(example) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, example + out + err
        return out

    def python(self, example: str) -> str:
        """The standard output of an example in Python, with the library installed."""
        (self.folder / "example.py").write_text(example)
        return self(f"PYTHONPATH={ROOT / 'client'} {sys.executable} example.py")
