"""`make deploy-local`: the addresses that it prints, and what is left after it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.local.test_stack import four_free_ports

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.stack, pytest.mark.built]


def test_it_serves_at_the_addresses_that_it_prints_until_it_is_interrupted(built: Path) -> None:
    """The stack answers behind the load balancer. After an interrupt no process is left."""
    first = four_free_ports()
    with subprocess.Popen(
        [sys.executable, "-m", "local.deploy", str(built)],
        cwd=ROOT,
        env={**os.environ, "LOCAL_PORT": str(first)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "takes it down" in line:
                break
        for port in range(first, first + 4):
            assert f"http://127.0.0.1:{port}" in printed
        assert re.search(r"RunsFunctionAlias +arn:aws:lambda:\S+:live", printed)
        assert httpx.get(f"http://127.0.0.1:{first}/healthz").json() == {"status": "ok"}
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "its AWS are gone" in rest
    assert errors == ""
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
