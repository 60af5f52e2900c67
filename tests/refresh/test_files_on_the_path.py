"""How many of Byline's files a reader opens to follow a token from a tick to its new secret."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import replace
from pathlib import Path
from types import FrameType
from typing import Any

from tests.refresh.deployment import Deployment

ROOT = Path(__file__).parents[2]
OURS = (f"{ROOT}/functions/", f"{ROOT}/layers/identity/byline/")

MOST_FILES = 15

OTHER_WORK_OF_A_TICK = "functions/plan_refresh/lost_runs.py"
"""A tick marks lost runs too. This work reads no token's row and writes none."""


@contextmanager
def files_of_functions_that_run() -> Iterator[set[str]]:
    """Byline's files in which a function runs, in any thread, until the block ends.

    Module bodies and class bodies do not count: they have run when the functions were built.
    """
    files: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(OURS):
            files.add(str(Path(path).relative_to(ROOT)))

    threading.setprofile_all_threads(note)
    try:
        yield files
    finally:
        threading.setprofile_all_threads(None)
        assert sys.getprofile() is None


def test_tick_to_a_written_token_passes_through_few_files(deployment: Deployment) -> None:
    """One tick and one invocation that replaces one token, by `client_secret_basic`, when warm."""
    world = deployment.world
    world.issuer.opaque = False
    new = world.register("nightly")
    deployment.tick()
    deployment.work_off()
    row = world.row("nightly")
    assert row is not None
    world.put(replace(row, due_at=new.due_at))
    with files_of_functions_that_run() as files:
        assert deployment.tick() == {"units": 1}
        assert deployment.work_off() == []
    after = world.row("nightly")
    assert after is not None
    assert world.token(after)["generation"] == row.generation + 1
    files -= {OTHER_WORK_OF_A_TICK}
    assert len(files) <= MOST_FILES, "\n".join(sorted(files))
