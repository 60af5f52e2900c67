"""The garbage collector after the init phase of RunsFunction."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_garbage_collector_is_enabled_after_init() -> None:
    """The collector is stopped during init, and runs again before the first request."""
    code = "import gc, serve_runs.handler; print(gc.isenabled(), gc.get_freeze_count() > 0)"
    paths = os.pathsep.join(str(ROOT / path) for path in ("layers/identity", "functions"))
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split()[-2:] == ["True", "True"]
