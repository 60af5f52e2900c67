"""AWS on one machine: moto's server, in a process of its own.

moto keeps its tables in its process, and a test that mocks AWS in the same process empties them.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import boto3

from local.lambda_runtime import REGION
from local.listening import url_of

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
"""Any credentials, which moto accepts for account 123456789012."""

MOTO_SETTINGS = {"MOTO_DISABLE_GLOBAL_CORS": "true"}
"""moto's answers permit no page of another site to read them."""

ROOT = Path(__file__).resolve().parent.parent


class MotoServer:
    """Serves `listener` from entering the block to leaving it, or to the end of this process."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.url = url_of(listener)
        self.environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url}
        """The variables with which a function calls this server."""

    def client(self, service: str) -> Any:
        """A client of the AWS `service` on this server."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def __enter__(self) -> Self:
        file = self._listener.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local.aws_process", str(file)],
            cwd=ROOT,
            env={**os.environ, **CREDENTIALS, **MOTO_SETTINGS, "AWS_DEFAULT_REGION": REGION},
            stdin=subprocess.PIPE,
            pass_fds=[file],
            start_new_session=True,
        )
        # The child holds the listener too, so connections wait until it serves.
        self._listener.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
