"""What all checks work with, and how they wait."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tools.smoke.endpoint import Endpoint
from tools.smoke.stack import DeployedStack

POLL_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The deployed stack, its address, and what the operator named.

    `project`: of the runs and roles that checks create. `client`: `project/client` of a runner, or
    empty. `patience`: multiplies all waits.
    """

    stack: DeployedStack
    endpoint: Endpoint
    project: str
    client: str = ""
    patience: float = 1.0

    def wait_for[Found](self, look: Callable[[], Found | None], *, seconds: float) -> Found | None:
        """The first thing that `look` finds within `seconds`; None where it finds nothing."""
        end = time.monotonic() + seconds * self.patience
        while (found := look()) is None and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return found
