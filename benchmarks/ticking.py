"""Measures a tick of the planner with few and with many runners for each token.

    PYTHONPATH=layers/identity python -m benchmarks.ticking

measures the working tree. `make bench` measures the built artifact.
"""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.artifacts import ROOT
from benchmarks.functions import cpu_seconds
from benchmarks.refresh_stub import RefreshStub, refresh_stub
from benchmarks.refreshing import ENVIRONMENT, PROJECT, ROUNDS, TOKENS, new_token
from benchmarks.results import Promise, Series
from local.lambda_runtime import Function, FunctionHost

RUNNERS_OF_A_TOKEN = 1_000


@dataclass(frozen=True, slots=True)
class Ticking:
    """Milliseconds of CPU time of a tick, by round.

    `alone`: with one runner for each token. `shared`: with `RUNNERS_OF_A_TOKEN`.
    """

    alone: list[float] = field(default_factory=list)
    shared: list[float] = field(default_factory=list)

    def promise(self) -> Promise:
        """The budget: a tick does not depend on the number of runners."""
        return Promise(
            what=f"a tick with {TOKENS:,} due tokens of {RUNNERS_OF_A_TOKEN:,} runners each, CPU",
            against="the same tick, one runner each",
            byline=Series(self.shared, "ms"),
            baseline=Series(self.alone, "ms"),
            budget=1.3,
            aim=1.0,
        )


def measure(*code: Path, python: Path, rounds: int = ROUNDS) -> Ticking:
    """Measure the planner with the folders `code` of its function and layer."""
    found = Ticking()
    with ExitStack() as stack:
        stubs = [stack.enter_context(refresh_stub()) for _ in range(2)]
        hosts: list[FunctionHost] = []
        for stub, runners in zip(stubs, (1, RUNNERS_OF_A_TOKEN), strict=True):
            _fill(stub, runners=runners)
            function = Function(
                handler="plan_refresh.handler.handler",
                code=code,
                environment={**ENVIRONMENT, "AWS_ENDPOINT_URL": stub.url},
                name="plan_refresh",
            )
            hosts.append(stack.enter_context(FunctionHost(function, python=python)))
        for turn in range(rounds + 1):
            for host, stub, times in zip(hosts, stubs, (found.alone, found.shared), strict=True):
                cpu = _tick(host, stub)
                if turn > 0:
                    times.append(cpu)
        alone, shared = ((stub.table.reads, stub.messages) for stub in stubs)
        if alone != shared or not all(alone):
            raise AssertionError(f"reads and messages depend on runners: {alone}, {shared}")
    return found


def _fill(stub: RefreshStub, *, runners: int) -> None:
    """Put the tokens, and the rows of their runners, which are all alike but for the name."""
    registered = {"project": {"S": PROJECT}, "client": {"S": "scheduler"}, "revision": {"S": "1"}}
    for number in range(TOKENS):
        stub.table.put(new_token(number, runners=runners))
        for runner in range(runners):
            stub.table.put({**registered, "runner": {"S": f"runner-{number}-{runner}"}})


def _tick(host: FunctionHost, stub: RefreshStub) -> float:
    """Milliseconds of CPU time of one tick."""
    host.wait_until_ready()
    (instance,) = host.instances
    stub.table.make_due()
    before = cpu_seconds(instance.pid)
    answer = host.invoke({})
    if answer != {"units": 1}:
        raise AssertionError(f"not a tick for one work unit: {answer}")
    return (cpu_seconds(instance.pid) - before) * 1e3


def main() -> None:
    """Measure the working tree, in the environment of the tests, and print the result."""
    packages = Path(sys.prefix, "lib/python3.13/site-packages")
    code = (ROOT / "functions", ROOT / "layers/identity", packages)
    promise = measure(*code, python=Path(sys.executable)).promise()
    print(
        f"{promise.what}: {promise.byline.median:.2f} ms, {promise.against}:"
        f" {promise.baseline.median:.2f} ms, {promise.ratio:.2f} x, {promise.verdict}"
    )


if __name__ == "__main__":
    main()
