"""One execution environment of a function: a child process with its own Runtime API."""

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import IO

from local.runtime_api import Invocation, RuntimeApi

INIT_SECONDS = 30.0
"""The time limit of init, in seconds. Lambda allows 10; a small, busy machine may need more."""

Log = int | IO[bytes] | IO[str]
"""A file, or one of `subprocess`'s constants."""


class FunctionFailed(Exception):
    """The function gave no answer: it raised, exited or took too long.

    `error_type` and `error_message` are what Lambda's caller gets as `errorType` and
    `errorMessage`.
    """

    def __init__(self, error_type: str, error_message: str) -> None:
        super().__init__(f"{error_type}: {error_message}")
        self.error_type = error_type
        self.error_message = error_message


class InitFailed(FunctionFailed):
    """The function did not start: its module could not be imported, or raised an error."""


@dataclass(slots=True)
class Timings:
    """When things happened, in seconds of `time.perf_counter`; 0 for what has not.

    `started`: the process was about to be started. `restored`: with SnapStart, a snapshot would be
    taken and restored here. `ready`: it asked for its first invocation. `delivered`, `answered`:
    the latest invocation left for it, and its answer was here.
    """

    started: float = 0
    restored: float = 0
    ready: float = 0
    delivered: float = 0
    answered: float = 0


class FunctionInstance:
    """A process that starts at once and serves one invocation at a time."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, log: Log) -> None:
        self.timings = Timings()
        self._ready: Future[None] = Future()
        self._waiting: SimpleQueue[Invocation | None] = SimpleQueue()
        self._current: Invocation | None = None
        self._api = RuntimeApi(self, _function_arn(environment))
        self._api.start()
        self.timings.started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=environment["LAMBDA_TASK_ROOT"],
            env={**environment, "AWS_LAMBDA_RUNTIME_API": self._api.address},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C in a terminal must not reach the children: they are ended in order.
            start_new_session=True,
        )
        Thread(target=self._watch, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait for the end of init. Raises `InitFailed`."""
        try:
            self._ready.result(INIT_SECONDS)
        except TimeoutError:
            self.close()
            raise InitFailed("Sandbox.Timedout", f"init took over {INIT_SECONDS} s") from None

    def invoke(self, payload: bytes, *, timeout_seconds: float) -> bytes:
        """The function's answer. A process that takes too long is killed, as on Lambda.

        Raises `FunctionFailed`.
        """
        self.wait_until_ready()
        self._current = invocation = Invocation(payload, deadline=time.time() + timeout_seconds)
        if not self.is_alive:  # it died before the watcher could see this invocation
            self._fail(self._exit_error())
        self._waiting.put(invocation)
        try:
            return invocation.answer.result(timeout_seconds)
        except TimeoutError:
            self.close()
            message = f"Task timed out after {timeout_seconds:.2f} seconds"
            raise FunctionFailed("Sandbox.Timedout", message) from None
        finally:
            self._current = None

    def close(self) -> None:
        """Kill the process and stop serving it."""
        self._process.kill()
        self._process.wait()
        self._waiting.put(None)
        self._api.shutdown()
        self._api.server_close()

    def next_invocation(self) -> Invocation | None:
        """Wait for the next invocation. None if there will be no more."""
        if not self.timings.ready:
            self.timings.ready = time.perf_counter()
            with suppress(InvalidStateError):
                self._ready.set_result(None)
        invocation = self._waiting.get()
        if invocation is not None:
            self.timings.delivered = time.perf_counter()
        return invocation

    def on_restore(self) -> None:
        """Note the point at which SnapStart takes the snapshot."""
        self.timings.restored = time.perf_counter()

    def on_answer(self, request_id: str, answer: bytes) -> None:
        """Take the answer of the runtime."""
        self.timings.answered = time.perf_counter()
        current = self._current
        if current is not None and current.request_id == request_id:
            with suppress(InvalidStateError):
                current.answer.set_result(answer)

    def on_error(self, report: bytes) -> None:
        """Take the runtime's report of an error, of an invocation or of init."""
        self.timings.answered = time.perf_counter()
        try:
            facts = json.loads(report)
            self._fail(FunctionFailed(str(facts["errorType"]), str(facts["errorMessage"])))
        except (ValueError, KeyError, TypeError):
            self._fail(FunctionFailed("Runtime.Unknown", "the report of an error was unreadable"))

    def _watch(self) -> None:
        self._process.wait()
        self._fail(self._exit_error())

    def _exit_error(self) -> FunctionFailed:
        message = f"Runtime exited with status {self._process.returncode}"
        return FunctionFailed("Runtime.ExitError", message)

    def _fail(self, error: FunctionFailed) -> None:
        with suppress(InvalidStateError):
            self._ready.set_exception(InitFailed(error.error_type, error.error_message))
        if (current := self._current) is not None:
            with suppress(InvalidStateError):
                current.answer.set_exception(error)


def _function_arn(environment: Mapping[str, str]) -> str:
    region, name = environment["AWS_REGION"], environment["AWS_LAMBDA_FUNCTION_NAME"]
    return f"arn:aws:lambda:{region}:123456789012:function:{name}"
