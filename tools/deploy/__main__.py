"""Deploys what `make build` built, with the parameters of one environment.

    python -m tools.deploy dev [arguments of `sam deploy`]

Reads `params/dev.yaml`. The stack is `byline-dev`, or what STACK says. Credentials and region are
those of the AWS CLI. `--template-file` names the template of another artifact.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import boto3

from tools.deploy.outputs import left_to_do, load_balancer_address, stack_outputs
from tools.deploy.parameters import (
    UnusableParameters,
    discovery_document,
    load_balancer_of,
    read_parameters,
)

ROOT = Path(__file__).parents[2]
SAM = ROOT / ".venv-sam/bin/sam"
EXAMPLES = ROOT / "params/examples"


def main(environment: str, arguments: list[str]) -> None:
    """The command. Exits with 1 and a message where nothing can be deployed."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", environment):
        sys.exit("Name an environment: make deploy ENV=dev")
    path = ROOT / f"params/{environment}.yaml"
    if not path.exists():
        examples = ", ".join(sorted(each.stem for each in EXAMPLES.glob("*.yaml")))
        sys.exit(
            f"params/{environment}.yaml is missing. Copy one of params/examples ({examples}) and"
            " write your values into it."
        )
    try:
        parameters = read_parameters(path, discover=discovery_document)
    except UnusableParameters as unusable:
        sys.exit(f"params/{environment}.yaml: {unusable}")
    stack = os.environ.get("STACK") or f"byline-{environment}"
    overrides = ROOT / f".aws-sam/parameters-{environment}.yaml"
    overrides.parent.mkdir(exist_ok=True)
    overrides.write_text(json.dumps(parameters, indent=1))  # JSON is YAML, and needs no quotes
    finished = subprocess.run(
        [SAM, "deploy", "--stack-name", stack, "--parameter-overrides", f"file://{overrides}",
         "--config-file", ROOT / "samconfig.toml", *arguments],
        cwd=ROOT, check=False,
    )  # fmt: skip
    if finished.returncode != 0:
        sys.exit(finished.returncode)  # the SAM CLI has said why
    outputs = stack_outputs(boto3.client("cloudformation"), stack)
    arn = outputs.get("LoadBalancerArn") or load_balancer_of(parameters["ListenerArn"])
    address = load_balancer_address(boto3.client("elbv2"), arn)
    lines = left_to_do(parameters, address)
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:{width}}  {value}" for name, value in lines))


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "", sys.argv[2:])
