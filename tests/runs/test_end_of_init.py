"""The end of RunsFunction's init."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_collector_runs_once_the_function_is_loaded() -> None:
    """Init stops the garbage collector, and no request is answered without one."""
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
