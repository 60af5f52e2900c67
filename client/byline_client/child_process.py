"""A command run as a child process: signals passed on, its exit code passed through."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)
NOT_EXECUTABLE = 126
NOT_FOUND = 127


@dataclass(frozen=True)
class CommandEnd:
    """How a command ended. `exit_code` is 128 + n where signal n ended it, as shells say it.

    `reason`: why it failed, where its exit code alone does not say it.
    """

    exit_code: int
    was_interrupted: bool
    reason: str = ""


class Interruptions:
    """Counts the signals that ask for an end, from entering the block to leaving it.

    They do not end this process, so that it can record the end of the run.
    """

    def __init__(self) -> None:
        self.count = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruptions":
        for number in SIGNALS:
            # A signal that our parent ignores, as `nohup` does, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def run(self, arguments: Sequence[str], environ: Mapping[str, str]) -> CommandEnd:
        """Run a command to its end, with our standard input and output."""
        if self._is_interrupted():
            return CommandEnd(128 + signal.SIGTERM, was_interrupted=True)
        try:
            child = subprocess.Popen(list(arguments), env=dict(environ))  # noqa: S603
        except FileNotFoundError:
            reason = "The command was not found."
            return CommandEnd(NOT_FOUND, was_interrupted=False, reason=reason)
        except OSError:
            reason = "The command cannot be executed."
            return CommandEnd(NOT_EXECUTABLE, was_interrupted=False, reason=reason)
        self._child = child
        if self._is_interrupted():
            child.terminate()  # a signal came while the child was made
        code = child.wait()
        self._child = None
        reason = "" if code >= 0 else f"Ended by signal {_signal_name(-code)}."
        return CommandEnd(128 - code if code < 0 else code, self._is_interrupted(), reason)

    def _is_interrupted(self) -> bool:
        return self.count > 0

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.count += 1
        # A terminal sends Ctrl-C to the child too.
        if self._child is not None and not (number == signal.SIGINT and _is_in_foreground()):
            self._child.send_signal(number)


def _signal_name(number: int) -> str:
    """The name of a signal; its number where Python has no name for it, as for real-time ones."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _is_in_foreground() -> bool:
    """Whether a terminal has this process in its foreground group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
