"""The result of each check, how a check ends, and the cleaning up after it."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Literal, Self

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name

REFUSED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
"""AWS's error codes where the operator's own role lacks a permission."""


class Failed(Exception):
    """A check saw something else than it expects."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}; seen: {seen}")


class NotChecked(Exception):
    """A check cannot be made here. The text says what is missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found. `outcome` is what the table shows."""

    check: str
    outcome: Literal["ok", "FAILED", "not checked"]
    detail: str

    def line(self, width: int) -> str:
        """The row of the table. `width`: of the longest name of a check."""
        return f"{self.outcome:11}  {self.check:{width}}  {self.detail}".rstrip()


class Cleanup:
    """What a check created, deleted at the end of the block, also after an error or an interrupt.

    `left` names what could not be deleted, with the reason.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []
        self.left: list[str] = []

    def add(self, what: str, delete: Callable[[], object]) -> None:
        """Call `delete` at the end. It must accept that `what` is gone already."""
        self._steps.append((what, delete))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        while self._steps:
            what, delete = self._steps.pop()
            try:
                delete()
            except Exception as error:  # the other steps must still run
                self.left.append(f"{what} ({_said(error)})")


@contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Let Ctrl-C count at the end of the block: a request that creates something, and its cleanup.

    An interrupt during the request would leave what the request creates after it.
    """
    interrupts: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if interrupts:
        raise KeyboardInterrupt


type Check = Callable[[Cleanup], str]
"""Makes one check and returns a remark. Raises `Failed` and `NotChecked`."""


def verdicts(checks: Iterable[tuple[str, Check]]) -> Iterator[Verdict]:
    """The verdict of each named check, in order. What a check created is gone afterwards.

    Raises `KeyboardInterrupt` after the verdict of the check that was interrupted.
    """
    for name, check in checks:
        interrupt: KeyboardInterrupt | None = None
        with Cleanup() as cleanup:
            try:
                verdict = _verdict(name, partial(check, cleanup))
            except KeyboardInterrupt as raised:
                interrupt = raised
                verdict = Verdict(name, "not checked", "interrupted")
        if cleanup.left:
            left = f"left behind: {', '.join(cleanup.left)}"
            detail = f"{verdict.detail}; {left}" if verdict.outcome == "FAILED" else left
            verdict = Verdict(name, "FAILED", detail)
        yield verdict
        if interrupt is not None:
            raise interrupt


def _verdict(name: str, check: Callable[[], str]) -> Verdict:
    try:
        return Verdict(name, "ok", check())
    except NotChecked as missing:
        return Verdict(name, "not checked", str(missing))
    except ClientError as error:
        if error_name(error) in REFUSED:
            text = f"your AWS credentials do not allow {error.operation_name}"
            return Verdict(name, "not checked", text)
        return Verdict(name, "FAILED", _said(error))
    except Exception as error:  # a fault of one check must not hide the others
        return Verdict(name, "FAILED", _said(error))


def _said(error: Exception) -> str:
    """An error in words. Texts of libraries are left out, because they may quote a request."""
    match error:
        case Failed():
            return str(error)
        case ClientError():
            return f"AWS answered {error.operation_name} with {error_name(error)}"
        case httpx.HTTPError() | BotoCoreError():
            return f"no answer: {type(error).__name__}"
    last = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
