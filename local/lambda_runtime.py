"""Runs a function in Lambda's real runtime interface client, without Lambda.

function = Function("serve_runs.handler", code=(task_root, layer), environment={...})
with FunctionHost(function) as host:
    answer = host.invoke(event)
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from typing import Any, Literal, Self

from local.function_instance import FunctionFailed, FunctionInstance, InitFailed, Log, Timings

__all__ = [
    "Function",
    "FunctionFailed",
    "FunctionHost",
    "FunctionInstance",
    "InitFailed",
    "Timings",
]

REGION = "us-east-1"

InitializationType = Literal["on-demand", "snap-start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function's configuration, as Lambda has it.

    `code`: the task root, then the layers' folders (on Lambda, the content of their `python/`).
    `environment`: the function's own variables. Lambda's variables are added to them.
    """

    handler: str
    code: tuple[Path, ...]
    environment: Mapping[str, str]
    name: str = "Function"
    memory_mb: int = 1024
    timeout_seconds: float = 30.0
    initialization: InitializationType = "on-demand"


class FunctionHost:
    """A function in at most `instances` processes. An invocation takes or awaits a free one.

    The first process starts at once. The others start when they are needed, as on Lambda.
    `python`: an interpreter that finds `awslambdaric`, in its packages or in the function's code.
    `log`: the file of the processes' output, in place of CloudWatch Logs.
    """

    def __init__(
        self,
        function: Function,
        *,
        instances: int = 1,
        python: Path = Path(sys.executable),
        log: Log = subprocess.DEVNULL,
    ) -> None:
        self._function = function
        # -s: without the packages of the user's home folder.
        self._command = (str(python), "-s", "-m", "awslambdaric", function.handler)
        self.environment = {**_lambda_environment(function), **function.environment}
        self._log = log
        self._count = instances
        self._free: LifoQueue[FunctionInstance | None] = LifoQueue()
        self._lock = Lock()
        self._is_over = False
        self.instances: tuple[FunctionInstance, ...] = ()

    def __enter__(self) -> Self:
        for _ in range(self._count - 1):
            self._free.put(None)
        self._free.put(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over = True
        for instance in self.instances:
            instance.close()

    def wait_until_ready(self) -> None:
        """Wait for the init of the processes that were started. Raises `InitFailed`."""
        for instance in self.instances:
            instance.wait_until_ready()

    def invoke(self, event: Any) -> Any:
        """The function's answer to `event`. A dead instance is replaced first, as on Lambda.

        Raises `FunctionFailed`.
        """
        payload = json.dumps(event).encode()
        instance = self._free.get()
        try:
            if instance is None or not instance.is_alive:
                instance = self._start(instead_of=instance)
            answer = instance.invoke(payload, timeout_seconds=self._function.timeout_seconds)
            return json.loads(answer)
        finally:
            self._free.put(instance)

    def _start(self, *, instead_of: FunctionInstance | None = None) -> FunctionInstance:
        if instead_of is not None:
            instead_of.close()
        with self._lock:
            if self._is_over:
                raise FunctionFailed("Runtime.ExitError", "The host of the function was closed.")
            instance = FunctionInstance(self._command, self.environment, log=self._log)
            others = (other for other in self.instances if other is not instead_of)
            self.instances = (*others, instance)
        return instance


def _lambda_environment(function: Function) -> dict[str, str]:
    """The variables of Lambda: docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
    return {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": function.initialization,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_REGION": REGION,
        "LAMBDA_TASK_ROOT": str(function.code[0]),
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        # A function's folders are read-only on Lambda, so no byte code is written.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": ":".join(map(str, function.code)),
        "TZ": ":UTC",
        "_HANDLER": function.handler,
    }
