"""The demo's scene about runners: a token exists within seconds, and is replaced before it expires.

The tokens live 30 seconds. Everything else runs at its real pace.
"""

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx

from local.demo_lines import Lines, clock
from local.stack import Stack

GOOD = "/v1/projects/research/runners/trainer"
BROKEN = "/v1/projects/sandbox/runners/tester"
CLIENT = "short-lived"
SUBJECT = "nightly-train"

FIRST_TOKEN_SECONDS = 10
PATIENCE_SECONDS = 40

type Runner = Mapping[str, Any]


class RunnersScene:
    """The scene. `operator` registers runners, `runner` is one of them, and `others` are not."""

    def __init__(
        self,
        stack: Stack,
        lines: Lines,
        *,
        operator: httpx.Client,
        runner: httpx.Client,
        others: Mapping[str, httpx.Client],
    ) -> None:
        self._lines = lines
        self._operator = operator
        self._runner = runner
        self._others = others
        self._secrets = stack.aws.client("secretsmanager")
        self._generation = 0
        stack.give_client("research", CLIENT)
        stack.give_client("sandbox", CLIENT, secret="not-its-secret")

    def play(self) -> set[str]:
        """Play the scene. Returns the tokens that it saw, to be searched for in the logs."""
        body = {"client": CLIENT, "subject": SUBJECT}
        for path in (GOOD, BROKEN):
            answer = self._operator.put(path, json=body)
            self._lines.show(f"PUT {path}", answer, 201, "waiting")
        started = time.monotonic()
        self._wait(GOOD, lambda runner: runner["status"] == "ready")
        self._wait(BROKEN, lambda runner: runner["status"] == "failing")
        seconds = time.monotonic() - started
        first = self._show_token(
            "research's first token", is_as_promised=seconds < FIRST_TOKEN_SECONDS
        )
        self._show_failing("sandbox, whose client secret is wrong")

        mine = self._runner.get(f"{GOOD}/token")
        self._lines.show("the runner itself, GET …/token", mine, 200, "Bearer token")
        missing = self._runner.get(f"{GOOD}-that-is-not/token")
        for name, other in self._others.items():
            answer = other.get(f"{GOOD}/token")
            outcome = f"{answer.status_code}, as if there were no such runner"
            is_as_promised = answer.status_code == 404 and _without_instance(
                answer
            ) == _without_instance(missing)
            self._lines.verdict(f"{name}, GET …/token", outcome, is_as_promised=is_as_promised)

        left = self._watch(first)
        self._show_token(f"replaced with {left:.0f} s to spare", is_as_promised=left > 0)
        self._show_failing("sandbox still fails, others are refreshed")
        answers = (mine, self._runner.get(f"{GOOD}/token"))
        return {answer.json()["token"] for answer in answers if answer.status_code == 200}

    def _watch(self, first: Runner) -> float:
        """Wait for the next token. Returns the seconds that the first one still had to live."""
        looks = 0

        def is_replaced(runner: Runner) -> bool:
            nonlocal looks
            looks += self._runner.get(f"{GOOD}/token").status_code == 200
            return bool(runner["expires_at"] != first["expires_at"])

        print("… waiting for the next token, up to 30 s", flush=True)
        looked = self._wait(GOOD, is_replaced)
        outcome = f"looked {looked} times, {looks} times it had a token that lives"
        self._lines.verdict("time moves on", outcome, is_as_promised=looks == looked)
        if first["expires_at"] is None:
            return 0.0
        return datetime.fromisoformat(first["expires_at"]).timestamp() - time.time()

    def _show_token(self, what: str, *, is_as_promised: bool) -> Runner:
        """Print the expiry and the generation of the token in the runner's secret."""
        runner: Runner = self._operator.get(GOOD).json()
        if runner["secret_arn"] is None:
            self._lines.verdict(what, "no token", is_as_promised=False)
            return runner
        answer = self._secrets.get_secret_value(SecretId=runner["secret_arn"])
        secret = json.loads(answer["SecretString"])
        is_newer = secret["generation"] > self._generation
        self._generation = secret["generation"]
        outcome = f"expires at {clock(secret['expires_at'])}, generation {self._generation}"
        self._lines.verdict(what, outcome, is_as_promised=is_as_promised and is_newer)
        return runner

    def _show_failing(self, what: str) -> None:
        runner = self._operator.get(BROKEN).json()
        error = (runner["last_error"] or {}).get("class", "")
        is_as_promised = (runner["status"], error) == ("failing", "invalid_client")
        self._lines.verdict(what, f"{runner['status']}: {error}", is_as_promised=is_as_promised)

    def _wait(self, path: str, condition: Callable[[Runner], bool]) -> int:
        """Read the runner twice a second until `condition` holds. Returns the number of reads."""
        looks, end = 1, time.monotonic() + PATIENCE_SECONDS
        while not condition(self._operator.get(path).json()) and time.monotonic() < end:
            time.sleep(0.5)
            looks += 1
        return looks


def _without_instance(answer: httpx.Response) -> dict[str, Any]:
    """An answer's members without the id of its request."""
    return {name: value for name, value in answer.json().items() if name != "instance"}
