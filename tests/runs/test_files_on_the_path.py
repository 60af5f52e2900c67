"""How many modules a reader goes through to follow a create."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from tests.runs.identity_server import Credential
from tests.runs.runs_api import RunsApi

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / path) for path in ("functions/", "layers/identity/byline/"))

MOST_MODULES = 12


def test_warm_create_passes_through_few_modules(api: RunsApi, ada: Credential) -> None:
    """A create by a caller whose token is known runs in at most twelve modules."""
    api.create(ada)
    modules: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(OURS):
            modules.add(str(Path(path).relative_to(ROOT)))

    sys.setprofile(note)
    try:
        api.create(ada)
    finally:
        sys.setprofile(None)
    assert len(modules) <= MOST_MODULES, "\n".join(sorted(modules))
