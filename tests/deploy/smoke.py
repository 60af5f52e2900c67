"""`make deploy` and `make smoke` as an operator runs them, for an AWS account on this machine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import yaml

from local.account import Account
from local.sam_deploy import Deployment
from tools.smoke.verdicts import Verdict

ROOT = Path(__file__).parents[2]
PROJECT = "research"
SLOWEST_SECONDS = 300
OWN = frozenset({"STACK", "BYLINE_TOKEN", "CLIENT", "PROJECT", "BYLINE_URL"})
"""The variables of the two commands: each test gives its own."""
LINE = re.compile(r"(ok|FAILED|not checked) +([a-z-]+)(?: +(.*))?")


def token(account: Account) -> str:
    """An access token of the service account `nightly-train`."""
    answer = httpx.post(
        f"{account.issuer}/token",
        data={"grant_type": "client_credentials"},
        auth=("nightly-train", "nightly-train-secret"),
    )
    return str(answer.json()["access_token"])


@dataclass(frozen=True, slots=True)
class Operator:
    """Someone who deploys and checks the stack `byline-{environment}` in `account`."""

    account: Account
    built: Path
    environment: str

    @classmethod
    def of(cls, account: Account, built: Path) -> "Operator":
        """An operator of an environment of its own, so that no file of the checkout is replaced."""
        return cls(account, built, f"e2e-{uuid4().hex[:8]}")

    @property
    def stack(self) -> Deployment:
        """The deployed stack."""
        name = f"byline-{self.environment}"
        return Deployment(name, aws=self.account.aws, built=self.built)

    def deploy(self, parameters: Mapping[str, Any]) -> str:
        """What `make deploy` prints after it has deployed a file with these parameters."""
        files = [
            ROOT / f"params/{self.environment}.yaml",
            ROOT / f".aws-sam/parameters-{self.environment}.yaml",
        ]
        files[0].write_text(yaml.safe_dump(dict(parameters)))
        try:
            finished = self._run(
                "tools.deploy", "--template-file", str(self.built / "template.yaml"),
                "--no-confirm-changeset", "--no-progressbar",
            )  # fmt: skip
        finally:
            for file in files:
                file.unlink(missing_ok=True)
        assert finished.returncode == 0, f"{finished.stdout}{finished.stderr}"[-3000:]
        # AWS ends a deployment when the version can serve, ministack sooner.
        waiter = self.account.aws.client("lambda").get_waiter("published_version_active")
        waiter.wait(FunctionName=self.stack.outputs["RunsFunctionAlias"], WaiterConfig={"Delay": 1})
        return finished.stdout

    def smoke(self, *checks: str, **variables: str) -> tuple[int, dict[str, Verdict], str]:
        """Run `make smoke` with these variables: its exit status, its verdicts, all it prints."""
        finished = self._run("tools.smoke", *checks, **variables)
        printed = f"{finished.stdout}{finished.stderr}"
        return finished.returncode, verdicts_of(printed), printed

    @contextmanager
    def interrupted_smoke(self, *checks: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """`make smoke` while it runs. The block may interrupt it."""
        with subprocess.Popen(
            self._command("tools.smoke", *checks),
            cwd=ROOT,
            env=self._variables(variables),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGINT)

    def _run(
        self, module: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(module, *arguments),
            check=False,
            cwd=ROOT,
            env=self._variables(variables),
            capture_output=True,
            text=True,
            timeout=SLOWEST_SECONDS,
        )

    def _command(self, module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", module, self.environment, *arguments]

    def _variables(self, variables: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in OWN}
        return {
            **inherited,
            **self.account.aws.environment,
            "PYTHONPATH": "layers/identity:functions:.",
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.1",
            **variables,
        }


def verdicts_of(printed: str) -> dict[str, Verdict]:
    """The rows of the table that `make smoke` prints, by the name of the check."""
    rows = [found for line in printed.splitlines() if (found := LINE.fullmatch(line))]
    return {row[2]: Verdict(row[2], row[1], row[3] or "") for row in rows}  # type: ignore[arg-type]


@contextmanager
def served_with(stack: Deployment, account: Account, **variables: str) -> Iterator[None]:
    """Change the environment of RunsFunction by hand, and let the alias serve it."""
    functions = account.aws.client("lambda")
    function, alias = stack.outputs["RunsFunctionAlias"].rsplit(":", 1)
    before = functions.get_alias(FunctionName=function, Name=alias)["FunctionVersion"]
    changed = {"Variables": {**stack.variables, **variables}}
    functions.update_function_configuration(FunctionName=function, Environment=changed)
    number = functions.publish_version(FunctionName=function)["Version"]
    functions.update_alias(FunctionName=function, Name=alias, FunctionVersion=number)
    waiter = functions.get_waiter("published_version_active")
    waiter.wait(FunctionName=f"{function}:{alias}", WaiterConfig={"Delay": 1})
    try:
        yield
    finally:
        functions.update_alias(FunctionName=function, Name=alias, FunctionVersion=before)
        functions.update_function_configuration(
            FunctionName=function, Environment={"Variables": stack.variables}
        )


def rows(account: Account, table: str) -> list[dict[str, Any]]:
    """All rows of a table."""
    found: list[dict[str, Any]] = account.aws.client("dynamodb").scan(TableName=table)["Items"]
    return found


def trusted_issuer(account: Account, parameters: Mapping[str, str]) -> list[Any]:
    """`TrustedIssuers` as the file of an operator has it: a list."""
    issuers: list[Any] = json.loads(parameters["TrustedIssuers"])
    assert issuers[0]["issuer"] == account.issuer
    return issuers


def wait_until(condition: Any, *, seconds: float) -> None:
    """Wait until `condition()` is true, and fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
