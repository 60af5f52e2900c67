"""Measures the refresh of a thousand due tokens against bare puts of as large a secret.

    PYTHONPATH=layers/identity python -m benchmarks.refreshing

measures the working tree. `make bench` measures the built artifact.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.artifacts import ROOT
from benchmarks.functions import cpu_seconds
from benchmarks.refresh_stub import TOKEN, RefreshStub, refresh_stub
from benchmarks.results import Promise, Series
from byline.refresh.work_units import MintKey
from local.lambda_runtime import Function, FunctionHost

TOKENS = 1_000
PUTS_A_ROUND = 200
ROUNDS = 9

TIME_LIMIT_SECONDS = 60

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjE" + "x" * 800,
    # The stub is reached by its address, so name resolution needs no port of it.
    "BENCHMARK_AWS_PORT": "0",
    "SECRET_PREFIX": "byline",
    "POWERTOOLS_SERVICE_NAME": "byline",
    "POWERTOOLS_METRICS_NAMESPACE": "Byline",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "POWERTOOLS_TRACE_DISABLED": "true",
    "REFRESH_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/RefreshQueue",
    "RUNNERS_TABLE": "RunnersTable",
    "RUNS_TABLE": "RunsTable",
    "ACCESS_TABLE": "AccessTable",
    "WRITES_PER_SECOND": "1000000",
}
SHARD = "07"
PROJECT = "payments"
MESSAGE = json.dumps({"shard": SHARD, "project": PROJECT})
VALUE = json.dumps(
    {
        "token": TOKEN,
        "token_type": "Bearer",
        "issued_at": "2026-11-22T16:20:11Z",
        "expires_at": "2026-11-22T16:35:11Z",
        "generation": 1_795_364_411_000,
    }
)


@dataclass(frozen=True, slots=True)
class Refreshing:
    """The measurements by round, in milliseconds: CPU time, and elapsed time where named so.

    `bare_put` is one put by boto3's client, `own_put` one by Byline's client in eight threads, and
    `refresh` is one token, minted and written by a worker without its limiter.
    """

    bare_put: list[float] = field(default_factory=list)
    own_put: list[float] = field(default_factory=list)
    own_put_elapsed: list[float] = field(default_factory=list)
    refresh: list[float] = field(default_factory=list)
    refresh_elapsed: list[float] = field(default_factory=list)

    def series(self) -> dict[str, Series]:
        """The rows of the table of measurements."""
        return {
            "one `put_secret_value`, boto3's client": Series(self.bare_put, "ms CPU"),
            "one `put_secret_value`, Byline's client, eight threads": Series(
                self.own_put, "ms CPU"
            ),
            "a refreshed token": Series(self.refresh, "ms CPU"),
            "refreshed tokens": Series([1_000 / each for each in self.refresh_elapsed], "a second"),
        }

    def promises(self) -> list[Promise]:
        """The budgets of a refresh, a mint and a put, against a bare put by each client."""
        return [
            Promise(
                what="minting and writing a token, CPU",
                against="one bare `put_secret_value`, boto3's client",
                byline=Series(self.refresh, "ms"),
                baseline=Series(self.bare_put, "ms"),
                budget=2.2,
                aim=1.5,
            ),
            Promise(
                what="the same",
                against="one bare `put_secret_value`, Byline's client",
                byline=Series(self.refresh, "ms"),
                baseline=Series(self.own_put, "ms"),
                budget=3.2,
                aim=2.2,
            ),
            Promise(
                what="the same, elapsed time, without the worker's limiter",
                against="one bare `put_secret_value`, Byline's client, eight threads",
                byline=Series(self.refresh_elapsed, "ms"),
                baseline=Series(self.own_put_elapsed, "ms"),
                budget=4.5,
                aim=3.0,
            ),
        ]


def measure(*code: Path, boto3: Path, python: Path, rounds: int = ROUNDS) -> Refreshing:
    """Measure the worker with the folders `code` of its function and layer.

    `boto3`: the folder in which the baseline finds boto3. The first round writes the first tokens
    and opens connections, so it does not count.
    """
    puts = ROOT / "benchmarks/baselines/bare_put"
    found = Refreshing()
    with ExitStack() as stack:
        stub = stack.enter_context(_prepared())
        environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": stub.url}

        def start(name: str, code: tuple[Path, ...]) -> FunctionHost:
            function = Function(
                handler=f"{name}.handler",
                code=code,
                environment=environment,
                name=name,
                timeout_seconds=TIME_LIMIT_SECONDS,
            )
            return stack.enter_context(FunctionHost(function, python=python))

        worker = start("refresh_tokens.handler", code)
        bare, own = start("bare_put", (puts, boto3)), start("own_put", (puts, *code))
        for turn in range(rounds + 1):
            bare_put, _ = _puts(bare, stub)
            own_put, own_put_elapsed = _puts(own, stub)
            refresh, refresh_elapsed = _refresh(worker, stub)
            if turn > 0:
                found.bare_put.append(bare_put)
                found.own_put.append(own_put)
                found.own_put_elapsed.append(own_put_elapsed)
                found.refresh.append(refresh)
                found.refresh_elapsed.append(refresh_elapsed)
    return found


def _puts(host: FunctionHost, stub: RefreshStub) -> tuple[float, float]:
    """CPU time and elapsed time of one put, milliseconds."""
    names = [f"bare/{uuid4()}" for _ in range(PUTS_A_ROUND)]
    for name in names:
        stub.secrets.seed(name, VALUE)
    before, began = _cpu(host), time.perf_counter()
    host.invoke({"names": names, "value": VALUE})
    elapsed, cpu = time.perf_counter() - began, _cpu(host) - before
    return cpu / PUTS_A_ROUND * 1e3, elapsed / PUTS_A_ROUND * 1e3


def _refresh(host: FunctionHost, stub: RefreshStub) -> tuple[float, float]:
    """CPU time and elapsed time of one refreshed token, milliseconds."""
    stub.table.make_due()
    mints, writes = stub.mints, len(stub.secrets.writes)
    before, began = _cpu(host), time.perf_counter()
    answer = host.invoke({"Records": [{"messageId": str(uuid4()), "body": MESSAGE}]})
    elapsed, cpu = time.perf_counter() - began, _cpu(host) - before
    done = (answer, stub.mints - mints, len(stub.secrets.writes) - writes)
    if done != ({"batchItemFailures": []}, TOKENS, TOKENS):
        raise AssertionError(f"not a refresh of all tokens, each by one mint: {done}")
    return cpu / TOKENS * 1e3, elapsed / TOKENS * 1e3


def _cpu(host: FunctionHost) -> float:
    host.wait_until_ready()
    (instance,) = host.instances
    return cpu_seconds(instance.pid)


@contextmanager
def _prepared() -> Iterator[RefreshStub]:
    with refresh_stub() as stub:
        client = {
            "token_endpoint": f"{stub.url}/token",
            "client_id": "nightly-train",
            "auth_method": "client_secret_basic",
            "client_secret": "not-secret",
        }
        stub.secrets.seed("byline/clients/payments/scheduler", json.dumps(client))
        for number in range(TOKENS):
            stub.table.put(new_token(number))
        yield stub


def new_token(number: int, *, runners: int = 1) -> dict[str, Any]:
    """The row of a token that was never minted, due now."""
    now = int(time.time())
    texts = {
        "project": f"tokens#{PROJECT}",
        "client": "scheduler",
        "id": f"01kb0n0nz0v5r9d5q8x0t{number:05}",
        "audience": f"https://api-{number}.example.com",
        "shard": SHARD,
        "created_at": "2026-11-22T16:20:11.123Z",
    }
    key = MintKey.of(project=PROJECT, client="scheduler", audience=texts["audience"])
    texts["runner"] = key.token_key
    numbers = {"generation": 0, "deadline": now, "due_at": now, "attempts": 0, "runners": runners}
    return {member: {"S": text} for member, text in texts.items()} | {
        member: {"N": str(number)} for member, number in numbers.items()
    }


def main() -> None:
    """Measure the working tree, in the environment of the tests, and print the results."""
    packages = Path(sys.prefix, "lib/python3.13/site-packages")
    code = (ROOT / "functions", ROOT / "layers/identity", packages)
    found = measure(*code, boto3=packages, python=Path(sys.executable))
    for what, series in found.series().items():
        print(f"{what}: {series.median:.2f} {series.unit}")
    for promise in found.promises():
        byline, baseline = promise.byline, promise.baseline
        print(
            f"{promise.what}: {byline.median:.2f} {byline.unit}, {promise.against}:"
            f" {baseline.median:.2f} {baseline.unit}, {promise.ratio:.2f} x, {promise.verdict}"
        )


if __name__ == "__main__":
    main()
