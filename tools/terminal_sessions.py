"""Records sessions of the command line on the local stack, and writes them as docs/session-….svg.

    python -m tools.terminal_sessions

The commands run in a terminal of their own, so tables and colours are those that a person sees.
"""

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
from rich.console import Console
from rich.text import Text

from local.openid_provider import ADA, GRACE
from local.stack import Stack
from tests.docs.people_tokens import token_of

ROOT = Path(__file__).parents[1]
COLUMNS, LINES = 100, 40
SERVICE = "https://byline.example.com"
ISSUER = "https://issuer.example.com"
SESSIONS = {
    "run": (
        f"byline login {SERVICE} --device",
        "byline run --project research --name nightly --label team=ml -- ./train.sh",
        "byline runs --project research",
        "byline who {run} --project research",
    ),
    "runner": (
        "byline grant project:editor grace@example.com --project research",
        "byline runners register trainer --client nightly-train --project research --wait",
        "byline runners register tester --client no-client --project research",
        "byline runners --project research",
    ),
}
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


class Terminal:
    """A terminal in which Ada works, on a stack, in a folder."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        (folder / "train.sh").write_text("#!/bin/sh\necho 'epoch 1: loss 0.25'\n")
        (folder / "train.sh").chmod(0o755)

    def session(self, commands: Sequence[str]) -> str:
        """The SVG of commands and their output."""
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        run = ""
        for command in commands:
            line = command.format(run=run)
            console.print(Text.assemble(("$ ", "bold green"), (line, "bold")))
            output = self._output(line.replace(SERVICE, self._stack.url))
            output = output.replace(self._stack.url, SERVICE).replace(self._stack.issuer, ISSUER)
            console.print(Text.from_ansi(output.rstrip()))
            ids = re.findall(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", output)
            run = ids[0] if ids else run
        # The fonts would be loaded from elsewhere.
        return _FONT.sub("", console.export_svg(title="byline", unique_id="byline"))

    def _output(self, line: str) -> str:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        words = [sys.executable, "-m", "byline_client", *shlex.split(line)[1:]]
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "client"),
            "TERM": "xterm-256color",
            "BYLINE_CONFIG_DIR": str(self._folder / "config"),
            "BYLINE_TOKEN_STORE": "file",
        }
        with subprocess.Popen(
            words, env=environ, cwd=self._folder, stdin=slave, stdout=slave, stderr=slave
        ):
            os.close(slave)
            output = b""
            # The end of the process closes the terminal, which is an error of the read.
            with suppress(OSError):
                while part := os.read(master, 4096):
                    output += part
                    self._approve(output.decode(errors="replace"))
        os.close(master)
        return output.decode().replace("\r\n", "\n")

    def _approve(self, output: str) -> None:
        """Approve the code of a sign-in, as Ada does in her browser."""
        if (code := re.search(r"the code (\S+)\. Waiting", output)) and "Signed in" not in output:
            form = {"user_code": code[1], "person": ADA.subject}
            httpx.post(f"{self._stack.issuer}/device", data=form)


def main() -> None:
    """Write all sessions."""
    with tempfile.TemporaryDirectory() as folder, Stack() as stack:
        stack.give_client("research", "nightly-train")
        # Grace has called before, so that her e-mail address is known.
        headers = {"authorization": f"Bearer {token_of(GRACE, stack)}"}
        httpx.get(f"{stack.url}/v1/whoami", headers=headers)
        terminal = Terminal(stack, Path(folder))
        for name, commands in SESSIONS.items():
            (ROOT / f"docs/session-{name}.svg").write_text(terminal.session(commands))


if __name__ == "__main__":
    main()
