"""Deploys the built template with the SAM CLI into AWS on this machine, and invokes its alias."""

import json
import os
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.function_instance import FunctionFailed
from local.ministack import REGION, ROOT, Ministack

SAM = ROOT / ".venv-sam/bin/sam"
CONFIGURATION = ROOT / "samconfig.toml"
SLOWEST_SECONDS = 300


class DeployFailed(Exception):
    """The SAM CLI could not deploy or delete a stack. The message is the end of its output."""


class Deployment:
    """A stack of the built template: `built` is the folder of `sam build`."""

    def __init__(self, name: str, *, aws: Ministack, built: Path) -> None:
        self.name = name
        self._aws = aws
        self._built = built
        self._lambda = aws.client("lambda")

    def deploy(self, parameters: Mapping[str, str], *, built: Path | None = None) -> None:
        """Create or update the stack, from another artifact where `built` names one.

        Parameters that are not named keep their values. Raises `DeployFailed`.
        """
        values = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
        self._sam(
            "deploy",
            *("--template-file", str((built or self._built) / "template.yaml")),
            *("--no-confirm-changeset", "--no-progressbar"),
            *(["--parameter-overrides", *values] if values else []),
        )
        # AWS ends a deployment when the version can serve, ministack sooner.
        waiter = self._lambda.get_waiter("published_version_active")
        waiter.wait(FunctionName=self._alias, WaiterConfig={"Delay": 1})

    def delete(self) -> None:
        """Delete the stack.

        Not with the SAM CLI: it expects the address of the nested template to be one of AWS.
        """
        cloudformation = self._aws.client("cloudformation")
        cloudformation.delete_stack(StackName=self.name)
        waiter = cloudformation.get_waiter("stack_delete_complete")
        waiter.wait(StackName=self.name, WaiterConfig={"Delay": 1})

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs of the stack."""
        stacks = self._aws.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}

    def physical_id(self, logical_id: str) -> str:
        """The name or address of a resource of the stack."""
        found = self._aws.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical_id
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that the alias serves with."""
        alias = self.outputs["RunsFunctionAlias"]
        found: dict[str, str] = self._lambda.get_function_configuration(FunctionName=alias)[
            "Environment"
        ]["Variables"]
        return found

    def invoke(self, event: Any) -> Any:
        """The answer of RunsFunction's alias to `event`. Raises `FunctionFailed`."""
        try:
            answer = self._lambda.invoke(FunctionName=self._alias, Payload=json.dumps(event))
        except ClientError as error:
            raise FunctionFailed("Lambda.Refused", str(error)) from None
        content = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise FunctionFailed(str(content["errorType"]), str(content["errorMessage"]))
        return content

    @cached_property
    def _alias(self) -> str:
        return self.outputs["RunsFunctionAlias"]

    def _sam(self, command: str, *options: str) -> None:
        finished = subprocess.run(
            [
                SAM,
                command,
                *("--stack-name", self.name),
                *("--region", REGION),
                *("--config-file", CONFIGURATION),
                *options,
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=SLOWEST_SECONDS,
            env={
                **os.environ,
                **self._aws.environment,
                "SAM_CLI_TELEMETRY": "0",
                "SAM_CLI_POLL_DELAY": "0.1",
            },
        )
        if finished.returncode != 0:
            raise DeployFailed(f"{finished.stdout}{finished.stderr}"[-3000:])
