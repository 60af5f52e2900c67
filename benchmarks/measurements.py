"""The measurements, in alternating rounds, so that a slow minute affects all functions."""

import json
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import trustme

from benchmarks.artifacts import ROOT, Artifacts, build
from benchmarks.aws_stub import CALLS, DYNAMODB, PUBLIC_KEYS, aws_stub
from benchmarks.browser import CONSOLE_PAGE, HEALTH_CHECK, ITEM, Browser
from benchmarks.functions import ColdStart, Functions, cold_start, cpu_per_create, functions
from benchmarks.refreshing import Refreshing
from benchmarks.refreshing import measure as measure_refreshing
from benchmarks.ticking import Ticking
from benchmarks.ticking import measure as measure_ticking
from local.lambda_runtime import Function, FunctionHost

CREATES_A_ROUND = 20
TOKENS_A_ROUND = 50
EVENTS_A_BREAKDOWN = 401


@dataclass(frozen=True, slots=True)
class Bench:
    """The built functions, with the stub of AWS running."""

    artifacts: Artifacts
    functions: Functions
    browser: Browser
    aws_port: int

    def cold_starts(self, names: Sequence[str], *, rounds: int) -> dict[str, list[ColdStart]]:
        """Cold starts of each function, one in each round."""
        found: dict[str, list[ColdStart]] = {name: [] for name in names}
        for turn in _turns(names, rounds):
            for name in turn:
                is_console = name == "console"
                event = CONSOLE_PAGE if is_console else self.browser.create()
                with self._host(name) as host:
                    found[name].append(cold_start(host, event, status=200 if is_console else 201))
        return _without_first(found)

    def first_requests(self, *, rounds: int) -> dict[str, list[ColdStart]]:
        """Cold starts of Byline with each kind of first request, one in each round."""
        kinds = {"health check": 200, "who am I": 200, "create": 201, "create, role read": 201}
        found: dict[str, list[ColdStart]] = {kind: [] for kind in kinds}
        for turn in _turns(list(kinds), rounds):
            for kind in turn:
                event = {"health check": HEALTH_CHECK, "who am I": self.browser.whoami()}.get(kind)
                with self._host("byline_by_role" if kind.endswith("read") else "byline") as host:
                    start = cold_start(host, event or self.browser.create(), status=kinds[kind])
                found[kind].append(start)
        return _without_first(found)

    def decisions(self, *, rounds: int) -> dict[str, list[float]]:
        """Microseconds of a decision by kind and round. See `benchmarks.deciding`."""
        found: dict[str, list[float]] = self._script("deciding.py", {"rounds": rounds})
        return _without_first(found)

    def warm_creates(self, names: Sequence[str], *, rounds: int) -> dict[str, list[float]]:
        """Milliseconds of CPU time of a create with a new token, by function and round."""
        found: dict[str, list[float]] = {name: [] for name in names}
        with ExitStack() as stack:
            hosts = {name: stack.enter_context(self._host(name)) for name in names}
            for turn in _turns(names, rounds):
                for name in turn:
                    events = [self.browser.create() for _ in range(CREATES_A_ROUND)]
                    found[name].append(cpu_per_create(hosts[name], events))
        return _without_first(found)

    def registrations(self, *, rounds: int) -> tuple[list[float], dict[str, int]]:
        """Milliseconds of CPU time of a registration that shares a token, and the calls of one."""
        with self._host("byline") as host:
            cold_start(host, self.browser.register())
            before = self._calls()
            found = [
                cpu_per_create(host, [self.browser.register() for _ in range(CREATES_A_ROUND)])
                for _ in range(rounds)
            ]
            calls = {
                name: (count - before.get(name, 0)) // (rounds * CREATES_A_ROUND)
                for name, count in self._calls().items()
            }
        return found, {name: count for name, count in calls.items() if count}

    def ticking(self, *, rounds: int) -> Ticking:
        """The measurements of the planner. See `benchmarks.ticking`."""
        built = self.artifacts
        return measure_ticking(built.plan_function, built.layer, python=built.python, rounds=rounds)

    def _calls(self) -> dict[str, int]:
        context = ssl._create_unverified_context()  # noqa: S323 - a stub of this process
        with urlopen(f"https://127.0.0.1:{self.aws_port}{CALLS}", context=context) as answer:
            calls: dict[str, int] = json.load(answer)
        return calls

    def verifications(self, *, rounds: int) -> dict[str, list[float]]:
        """Microseconds of a verification by kind and round. See `benchmarks.verification`."""
        found: dict[str, list[float]] = self._script(
            "verification.py",
            {
                "public_key": self.browser.public_key.decode(),
                "settings": dict(self.functions.byline.environment),
                "batches": [
                    [self.browser.token() for _ in range(TOKENS_A_ROUND)] for _ in range(rounds + 1)
                ],
            },
        )
        return _without_first(found)

    def refreshing(self, *, rounds: int) -> Refreshing:
        """The measurements of refreshing. See `benchmarks.refreshing`."""
        built = self.artifacts
        return measure_refreshing(
            built.refresh_function,
            built.layer,
            boto3=built.boto3_only,
            python=built.python,
            rounds=rounds,
        )

    def breakdowns(self, *, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """The pieces of a cold start and of a warm create. See `benchmarks.breakdown`."""
        found: dict[str, dict[str, list[float]]] = {"cold": {}, "warm": {}}
        for _ in range(rounds):
            events = [self.browser.create() for _ in range(EVENTS_A_BREAKDOWN)]
            given = {"events": events, "item": ITEM, "started": time.perf_counter()}
            for kind, pieces in self._script("breakdown.py", given).items():
                for piece, value in pieces.items():
                    found[kind].setdefault(piece, []).append(value)
        return found["cold"], found["warm"]

    def _host(self, name: str) -> FunctionHost:
        function: Function = getattr(self.functions, name)
        return FunctionHost(function, python=self.artifacts.python)

    def _script(self, name: str, given: Mapping[str, Any]) -> Any:
        """The output of a script of this folder, run in RunsFunction's environment."""
        finished = subprocess.run(
            (self.artifacts.python, "-s", ROOT / "benchmarks" / name),
            input=json.dumps(given),
            env=self._host("byline").environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(finished.stdout.splitlines()[-1])  # the function's log comes before it


@contextmanager
def bench() -> Iterator[Bench]:
    """Build the functions, and run the stub of AWS until the block ends."""
    browser = Browser()
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    certificate = authority.issue_cert(DYNAMODB, PUBLIC_KEYS, key_type=trustme.KeyType.RSA)
    artifacts = build(authority.cert_pem.bytes())
    with TemporaryDirectory() as folder:
        certificate_file, key_file = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(certificate_file))
        key_file.write_bytes(browser.public_key)
        with aws_stub(certificate_file, key_file) as port:
            yield Bench(
                artifacts, functions(artifacts, browser=browser, aws_port=port), browser, port
            )


def _turns(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """All `names` for each round, each time with another one first. One round more to warm up."""
    for turn in range(rounds + 1):
        first = turn % len(names)
        yield [*names[first:], *names[:first]]


def _without_first[T](found: Mapping[str, list[T]]) -> dict[str, list[T]]:
    """`found` without the first round, which filled caches, opened connections and fetched keys."""
    return {name: values[1:] for name, values in found.items()}
