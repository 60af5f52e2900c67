"""The measured functions, configured as for Lambda, and the measurements of their processes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import clock_gettime
from typing import Any

from benchmarks.artifacts import Artifacts
from benchmarks.browser import CLIENT_ID, ISSUER, ITEM, SUBJECT, TARGET_GROUP, Browser
from local.lambda_runtime import Function, FunctionHost

_BEARER = {"issuer": ISSUER, "audiences": ["byline"], "profile": "keycloak"}


@dataclass(frozen=True, slots=True)
class Functions:
    """The measured functions. `byline_by_role` serves a caller who is not in `ProjectAdmins`."""

    byline: Function
    byline_by_role: Function
    console: Function
    boto3_only: Function
    raw_floor: Function
    usual_way: Function
    usual_way_compiled: Function


@dataclass(frozen=True, slots=True)
class ColdStart:
    """One process from its start to its first answer: times in milliseconds, peak memory in MB."""

    init: float
    first_request: float
    total: float
    cpu: float
    peak_memory: float


def functions(artifacts: Artifacts, *, browser: Browser, aws_port: int) -> Functions:
    """The functions, with the load balancer of `browser` and the stub of AWS on `aws_port`."""
    common = {
        "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjE" + "x" * 800,
        "BENCHMARK_AWS_PORT": str(aws_port),
        "RUNS_TABLE": "RunsTable",
        "RUNNERS_TABLE": "RunnersTable",
        "ACCESS_TABLE": "AccessTable",
        "REFRESH_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/RefreshQueue",
    }
    settings = {
        "LOAD_BALANCER_ARNS": browser.signer,
        "OIDC_ISSUER": ISSUER,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "BROWSER_TARGET_GROUP": TARGET_GROUP,
        "BEARER_TARGET_GROUP": TARGET_GROUP.replace("browser", "bearer"),
        "TRUSTED_ISSUERS": json.dumps([_BEARER]),
        "SECRET_PREFIX": "byline",
        "POWERTOOLS_SERVICE_NAME": "byline",
        "POWERTOOLS_METRICS_NAMESPACE": "Byline",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }
    admins = {"PROJECT_ADMINS": f"{ISSUER}#{SUBJECT}"}
    item = {"ITEM": json.dumps(ITEM)}
    key = {"PUBLIC_KEY": browser.public_key.decode()}

    def function(module: str, environment: Mapping[str, str], *code: Path) -> Function:
        return Function(
            name=module,
            handler=f"{module}.handler",
            code=code,
            environment={**common, **environment},
        )

    return Functions(
        byline=function(
            "serve_runs.handler", settings | admins, artifacts.function, artifacts.layer
        ),
        byline_by_role=function(
            "serve_runs.handler", settings, artifacts.function, artifacts.layer
        ),
        console=function("serve_console.handler", {}, artifacts.console_function),
        boto3_only=function("boto3_only", item, artifacts.boto3_only),
        raw_floor=function("raw_floor", item | key, artifacts.raw_floor),
        usual_way=function("usual_way", settings, artifacts.usual_way),
        usual_way_compiled=function("usual_way", settings, artifacts.usual_way_compiled),
    )


def cold_start(host: FunctionHost, event: dict[str, Any], *, status: int = 201) -> ColdStart:
    """The cold start of the process of `host`, with `event` as its first request."""
    _ask(host, event, status)
    (instance,) = host.instances
    timings = instance.timings
    return ColdStart(
        init=(timings.ready - timings.started) * 1e3,
        first_request=(timings.answered - timings.delivered) * 1e3,
        total=(timings.answered - timings.started) * 1e3,
        cpu=cpu_seconds(instance.pid) * 1e3,
        peak_memory=_peak_memory(instance.pid),
    )


def cpu_per_create(host: FunctionHost, events: list[dict[str, Any]]) -> float:
    """Milliseconds of CPU time, user and system, of the host's process for each of `events`."""
    (instance,) = host.instances
    before = cpu_seconds(instance.pid)
    for event in events:
        _ask(host, event, 201)
    return (cpu_seconds(instance.pid) - before) / len(events) * 1e3


def _ask(host: FunctionHost, event: dict[str, Any], status: int) -> None:
    answer = host.invoke(event)
    if answer["statusCode"] != status:
        raise AssertionError(f"not {status}: {answer}")


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process, in seconds, exact to the nanosecond.

    /proc has ticks of 10 ms only (clock_getcpuclockid(3), Linux).
    """
    return clock_gettime((~pid << 3) | 2)


def _peak_memory(pid: int) -> float:
    """The largest resident size of a process so far, in MB (`VmHWM` in proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(kib) * 1_024 / 1e6
