"""Invoking a function at a fixed rate, as EventBridge Scheduler does.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/what-is-scheduler.html
"""

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any, Self
from uuid import uuid4

from local.function_instance import FunctionFailed
from local.lambda_runtime import REGION

ACCOUNT = "123456789012"


class Ticker:
    """Invokes at once and then every so many `seconds`, from entering the block to leaving it.

    `name`: of the schedule. A tick that fails is told to `log`, and not repeated: the next comes.
    """

    def __init__(
        self,
        name: str,
        *,
        seconds: float,
        invoke: Callable[[Any], Any],
        log: Callable[[str], None],
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._invoke = invoke
        self._log = log
        self._is_over = Event()
        self._thread = Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        # A tick under way ends with its function, which is taken down after this.
        self._thread.join(1)

    @property
    def is_running(self) -> bool:
        """Whether another tick may come."""
        return self._thread.is_alive()

    def _tick(self) -> None:
        while not self._is_over.is_set():
            try:
                self._invoke(self._event())
            except FunctionFailed as failure:
                if not self._is_over.is_set():
                    self._log(f"{self._name}: {failure}")
            self._is_over.wait(self._seconds)

    def _event(self) -> dict[str, Any]:
        return {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": ACCOUNT,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{self._name}"],
            "detail": "{}",
        }
