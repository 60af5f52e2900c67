"""Checks a deployed stack: the checks of a first deployment, through AWS and the stack's address.

    python -m tools.smoke dev [name of a check]…

The stack is `byline-dev`, or what STACK says. Credentials and region are those of the AWS CLI. They
need read access to CloudFormation, Lambda, IAM, CloudWatch and its logs, and may simulate policies,
invoke RunsFunction, and read and write rows of its tables. A check is `not checked` where they lack
a permission.

    BYLINE_TOKEN   a Bearer token of an administrator of all projects, such as a service account's
    CLIENT         project/client, the OAuth client of a runner. The token's caller must be able to
                   register runners in that project
    PROJECT        project of the runs and roles that are created and deleted, by default a new one
    BYLINE_URL     address of the stack, by default https:// and HostName, or the load balancer's

Prints a verdict for each check: `ok`, `FAILED` or `not checked`. The exit status is 1 if a check
failed or none could be made. No token is printed. What is created is deleted, also after an
interrupt. What Byline keeps by design stays: audit records, the client's row, the last rows of
deleted runs, runners and roles, the caller's profile, and with ProjectCreation=anyone the role of a
new project's admin.
"""

import os
import re
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name
from byline.names import is_name, naming_rule
from tools.smoke import (
    alarms,
    audit_records,
    forged_credentials,
    live_version,
    load_balancer_keys,
    one_creator,
    registration,
    runner_tokens,
    runs_and_roles,
    ticks,
)
from tools.smoke.endpoint import Endpoint
from tools.smoke.stack import DeployedStack, NoStack
from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Verdict, verdicts

CHECKS: Mapping[str, Callable[[Surroundings, Cleanup], str]] = {
    "live-version": live_version.check,
    "load-balancer-keys": load_balancer_keys.check,
    "one-creator": one_creator.check,
    "audit-records": audit_records.check,
    "forged-credentials": forged_credentials.check,
    "runs-and-roles": runs_and_roles.check,
    "registration": registration.check,
    "runner-tokens": runner_tokens.check,
    "scheduler-ticks": ticks.check,
    "alarms": alarms.check,
}
"""The checks by their names, in the order in which they are made."""


def main(environment: str, names: Sequence[str]) -> int:
    """Make the checks, all by default. Returns the exit status."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", environment):
        sys.exit("Name an environment: make smoke ENV=dev")
    if unknown := set(names) - CHECKS.keys():
        sys.exit(f"Unknown check {min(unknown)}. Checks: {', '.join(CHECKS)}.")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        surroundings = _surroundings(environment, os.environ)
    except (NoStack, ValueError) as problem:
        sys.exit(str(problem))
    except (ClientError, BotoCoreError) as error:
        sys.exit(f"CloudFormation could not be read: {error_name(error)}.")
    print(f"stack {surroundings.stack.name} at {surroundings.endpoint.url}\n")
    chosen = [name for name in CHECKS if name in (names or CHECKS)]
    width = max(map(len, chosen))
    made: list[Verdict] = []
    try:
        for verdict in verdicts((name, partial(CHECKS[name], surroundings)) for name in chosen):
            made.append(verdict)
            print(verdict.line(width), flush=True)
    except KeyboardInterrupt:
        for name in chosen[len(made) :]:
            print(Verdict(name, "not checked", "interrupted").line(width))
        return 130
    outcomes = {verdict.outcome for verdict in made}
    return 1 if "FAILED" in outcomes or "ok" not in outcomes else 0


def _surroundings(environment: str, environ: Mapping[str, str]) -> Surroundings:
    """Raises `NoStack`, and `ValueError` for an unusable variable."""
    stack = DeployedStack(environ.get("STACK") or f"byline-{environment}")
    project = environ.get("PROJECT") or f"smoke-{secrets.token_hex(4)}"
    if not is_name(project):
        raise ValueError(f"PROJECT is {project!r}. {naming_rule(project, of='project')}")
    host = stack.parameters.get("HostName")
    url = environ.get("BYLINE_URL") or (f"https://{host}" if host else stack.outputs["Url"])
    return Surroundings(
        stack=stack,
        endpoint=Endpoint(url, environ.get("BYLINE_TOKEN", "").strip()),
        project=project,
        client=environ.get("CLIENT", ""),
    )


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if sys.argv[1:] else "", sys.argv[2:]))
