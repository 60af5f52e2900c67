"""Settings of all tests: loopback only, no real AWS account, one Hypothesis profile, one build."""

import os
import socket
import subprocess
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

settings.register_profile(
    "byline", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("byline")

# Set before any AWS client exists: a test without an endpoint then reaches no real account.
os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)

# A handler's module builds its function when it is imported. Tests build others beside it, each
# with an environment of its own; these values only let the import succeed.
os.environ.update(
    RUNS_TABLE="-",
    RUNNERS_TABLE="-",
    ACCESS_TABLE="-",
    REFRESH_QUEUE_URL="https://sqs.example/-",
    SECRET_PREFIX="unused",
    POWERTOOLS_SERVICE_NAME="unused",
)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects to another machine."""
    connect = socket.socket.connect

    def connect_on_loopback(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            assert host in {"localhost", "::1"} or host.startswith("127."), (
                f"a test tried to reach {host}"
            )
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_on_loopback)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an artifact for each function and layer. Workers share one `sam build`."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    folder = run / "sam-build"
    with (run / "sam-build.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (folder / "template.yaml").exists():
            _build(folder)
    return folder


def _build(folder: Path) -> None:
    subprocess.run([ROOT / "tools/setup", "sam"], check=True)
    finished = subprocess.run(
        [ROOT / ".venv-sam/bin/sam", "build", "--build-dir", folder],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
