"""The heartbeats of a run, sent by a thread while its command or its block runs."""

import threading
from collections.abc import Callable
from urllib.parse import quote

from byline_client.conversation import ServiceCall
from byline_client.errors import ClientError, Misused, RequestRefused
from byline_client.record import RunPlan
from byline_client.service import Service

EVERY_SECONDS = 30.0
MISSED = 4
"""A run is lost when as many heartbeats in sequence have not arrived."""

LEAST_SECONDS, MOST_SECONDS = 10, 3_600
"""The bounds of a run's allowed silence at the service."""

ANSWER_SECONDS = 10.0
CLOSE_SECONDS = 0.5
FINAL = frozenset({403, 404, 409})
"""The statuses after which no later heartbeat would be accepted."""


def allowed_silence(every: float, *, option: str) -> int:
    """The seconds of silence after which a run is lost that sends a heartbeat `every` seconds.

    0 for a run without heartbeats. `option`: what gives `every`, for the message of `Misused`.
    """
    if not every:
        return 0
    if not LEAST_SECONDS / MISSED <= every <= MOST_SECONDS / MISSED:
        raise Misused(f"{option} must be 0, or from 2.5 to 900 seconds.")
    return min(max(round(every * MISSED), LEAST_SECONDS), MOST_SECONDS)


class Heartbeats:
    """Sends a heartbeat `every` seconds, from entering the block to leaving it.

    A heartbeat that fails is not repeated; the next one follows. `open_service` makes a connection
    for the thread alone. `say` gets a message when the service accepts no more heartbeats.
    """

    def __init__(
        self,
        plan: RunPlan,
        run_id: str,
        *,
        every: float,
        open_service: Callable[[], Service],
        say: Callable[[str], None],
    ) -> None:
        self._call = ServiceCall("POST", f"{plan.path}/{quote(run_id, safe='')}/heartbeat")
        self._every = every
        self._open_service = open_service
        self._say = say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_all, daemon=True)

    def __enter__(self) -> "Heartbeats":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # A heartbeat on its way delays the end of the run by a moment at most.
        self._thread.join(CLOSE_SECONDS)

    def _send_all(self) -> None:
        try:
            with self._open_service() as service:
                while not self._ended.wait(self._every) and self._send(service):
                    pass
        except ClientError:
            return  # without a credential there is nothing to send with

    def _send(self, service: Service) -> bool:
        """Whether to go on."""
        try:
            service.ask(self._call)
        except RequestRefused as refused:
            if refused.status not in FINAL or self._ended.is_set():
                return True
            state = refused.members.get("current_status")
            why = f"the run is {state}" if state else str(refused)
            self._say(f"byline: {why}. It gets no more heartbeats, and it goes on.")
            return False
        except ClientError:
            return True
        return True
