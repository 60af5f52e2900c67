"""AWS on one machine: ministack, in a process of its own.

An independent implementation of AWS in Python. Its CloudFormation deploys a SAM template, and its
Lambda runs the functions, triggered by its queues, streams and schedules.
https://github.com/ministackorg/ministack
"""

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import boto3
from botocore.config import Config

from local.listening import url_of

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-second-engine/bin/python"
PROGRAM = f"""
import sys
sys.path.append({str(ROOT)!r})  # not PYTHONPATH, which the functions would inherit
from local.ministack_process import main
main()
"""

ACCOUNT = "123456789012"
"""ministack takes the account from the access key, and does not check signatures."""
REGION = "us-east-1"


class Ministack:
    """Serves `listener` from entering the block to leaving it, or to the end of this process.

    `services`: the only services to have, by default all. `log`: where its own messages go.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        services: Sequence[str] = (),
        log: int = subprocess.DEVNULL,
    ) -> None:
        self._listener = listener
        self._services = services
        self._log = log
        self.url = url_of(listener)
        self.environment = {
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
        }
        """The variables with which a program calls this server."""

    def client(self, service: str) -> Any:
        """A client of the AWS `service` on this server, for many threads."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="local",
            # A repeated invocation would act twice.
            config=Config(
                max_pool_connections=50, read_timeout=120, retries={"total_max_attempts": 1}
            ),
        )

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="ministack-")
        file = self._listener.fileno()
        self._process = subprocess.Popen(
            [PYTHON, "-P", "-c", PROGRAM, str(file), self._folder.name],
            cwd=self._folder.name,
            env=self._variables(),
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[file],
            start_new_session=True,
        )
        # The child holds the listener too, so connections wait until it serves.
        self._listener.close()
        return self

    def __exit__(self, *_: object) -> None:
        # With the functions that it started: they are in its process group.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._folder.cleanup()

    def _variables(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": self._folder.name,
            "TMPDIR": self._folder.name,
            "STATE_DIR": self._folder.name,
            "S3_DATA_DIR": self._folder.name,
            "GATEWAY_PORT": self.url.rpartition(":")[2],
            "MINISTACK_REGION": REGION,
            "SERVICES": ",".join(self._services),
            # Both would listen on all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
