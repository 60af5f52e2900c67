"""How many modules a reader goes through to follow a create."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.runs.identity_server import Credential
from tests.runs.runs_api import RunsApi

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / path) for path in ("functions/", "layers/identity/byline/"))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("ada", id="admin by a setting"),
        pytest.param("nightly", id="roles in AccessTable"),
    ],
)
def test_warm_create_passes_through_twelve_modules(
    api: RunsApi, kind: str, request: pytest.FixtureRequest
) -> None:
    """A create by a known caller runs in 12 modules, with or without a read of its roles."""
    for name in ("ada", "nightly"):
        api.create(request.getfixturevalue(name))
    caller: Credential = request.getfixturevalue(kind)
    modules: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(OURS):
            modules.add(str(Path(path).relative_to(ROOT)))

    sys.setprofile(note)
    try:
        api.create(caller)
    finally:
        sys.setprofile(None)
    assert len(modules) <= 12, "\n".join(sorted(modules))
