"""The demo's scene in a terminal: a person signs in by a code, and records a command."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from local.demo_lines import Lines
from local.openid_directory import Person
from local.stack import Stack

CLIENT = Path(__file__).parents[1] / "client"
PROJECT = "research"
SECONDS = 60


class TerminalScene:
    """The scene. `person` is an admin."""

    def __init__(self, stack: Stack, lines: Lines, *, person: Person) -> None:
        self._stack = stack
        self._lines = lines
        self._person = person

    def play(self) -> set[str]:
        """Play the scene. Returns the tokens that it saw, to be searched for in the logs."""
        with tempfile.TemporaryDirectory() as folder:
            self._environ = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(CLIENT),
                "BYLINE_CONFIG_DIR": folder,
                "BYLINE_TOKEN_STORE": "file",
                "BYLINE_PROJECT": PROJECT,
            }
            said = self._sign_in()
            name = self._person.name
            self._verdict("login URL", said, word=f"as {name}")
            out = self._byline("run", "--name", "evaluate-model", "--", "echo", "accuracy 0.93")
            self._verdict("run --name evaluate-model -- …", out, word="accuracy 0.93")
            run = self._byline("runs", "--mine", "--all-projects", "--limit", "1").strip()
            events = [line.split("\t")[1:3] for line in self._byline("who", run).splitlines()]
            changes = ", ".join(what for what, _ in events)
            self._lines.verdict(
                "$ byline who …",
                f"{changes}: {', '.join({who for _, who in events})}",
                is_as_promised=[who for _, who in events] == [name] * 3,
            )
            tokens = Path(folder, "tokens/default.json").read_text()
        return {*re.findall(r'"(?:access|refresh)_token": "([^"]+)"', tokens)}

    def _verdict(self, arguments: str, output: str, *, word: str) -> None:
        last = output.strip().splitlines()[-1] if output.strip() else ""
        self._lines.verdict(f"$ byline {arguments}", last, is_as_promised=word in last)

    def _sign_in(self) -> str:
        """Sign in, and approve the code in a browser. Returns the sentence about the sign-in."""
        with self._start("login", self._stack.url, "--device") as process:
            assert process.stderr is not None  # noqa: S101 - a pipe
            said = ""
            while (code := re.search(r"the code (\S+)\.", said)) is None:
                line = process.stderr.readline()
                if not line:
                    return said
                said += line
            form = {"user_code": code[1], "person": self._person.subject}
            httpx.post(f"{self._stack.issuer}/device", data=form)
            _, rest = process.communicate(timeout=SECONDS)
        return next((line for line in rest.splitlines() if "Signed in" in line), rest)

    def _byline(self, *arguments: str) -> str:
        """The standard output of a command; what went wrong where it failed."""
        with self._start(*arguments) as process:
            out, err = process.communicate(timeout=SECONDS)
        return err if process.returncode else out

    def _start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "byline_client", *arguments],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
