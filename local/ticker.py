"""Invokes a function at a fixed rate, as EventBridge Scheduler does.

https://docs.aws.amazon.com/scheduler/latest/UserGuide/what-is-scheduler.html
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any, Self
from uuid import uuid4

from local.function_instance import FunctionFailed
from local.lambda_runtime import REGION

ACCOUNT = "123456789012"

PRECISION = timedelta(minutes=1)
"""https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"""


class Ticker:
    """Invokes at once and then every so many `seconds`, from entering the block to leaving it.

    `name`: the schedule's name. `payload`: the function's event, in place of the scheduler's own
    event. A tick that fails is logged and not repeated.
    """

    def __init__(
        self,
        name: str,
        *,
        seconds: float,
        invoke: Callable[[Any], Any],
        log: Callable[[str], None],
        payload: str | None = None,
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._invoke = invoke
        self._log = log
        self._payload = payload
        self._is_over = Event()
        self._thread = Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        # A running tick ends when its function is stopped, later.
        self._thread.join(1)

    @property
    def is_running(self) -> bool:
        """Whether another tick can follow."""
        return self._thread.is_alive()

    def _tick(self) -> None:
        while not self._is_over.is_set():
            try:
                self._invoke(self._event())
            except FunctionFailed as failure:
                if not self._is_over.is_set():
                    self._log(f"{self._name}: {failure}")
            self._is_over.wait(self._seconds)

    def _event(self) -> Any:
        if self._payload is None:
            return self._own_event()
        # As late as the scheduler may be, so that a run on this machine need not wait a minute.
        scheduled = _timestamp(datetime.now(UTC) - PRECISION)
        return json.loads(self._payload.replace("<aws.scheduler.scheduled-time>", scheduled))

    def _own_event(self) -> dict[str, Any]:
        return {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": ACCOUNT,
            "time": _timestamp(datetime.now(UTC)),
            "region": REGION,
            "resources": [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{self._name}"],
            "detail": "{}",
        }


def _timestamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
