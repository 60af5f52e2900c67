"""`make deploy-local`: deploys the built template on this machine with the SAM CLI.

    python -m local.deploy [folder of `sam build`]

The stack runs until it is interrupted. Meanwhile its AWS accepts other commands, for example a
second `sam deploy` with a changed parameter.
"""

import os
import signal
import sys
from pathlib import Path

from local.account import Account
from local.listening import DEFAULT_PORT, PortTaken, listen
from local.ministack import ROOT
from local.sam_deploy import DeployFailed, Deployment
from local.up import fail, interrupt, ports_from, say

BUILT = ROOT / ".aws-sam/build"
STACK = "byline"
PROJECT, CLIENT = "apollo", "nightly-train"


def main() -> int:
    """Deploy, and serve until SIGINT or SIGTERM. Returns the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        ports = ports_from(os.environ.get("LOCAL_PORT") or DEFAULT_PORT)
        with (
            listen(ports.load_balancer) as listener,
            Account(ports) as account,
        ):
            say(f"… deploying {STACK} with the SAM CLI into ministack at {account.aws.url}")
            built = Path(sys.argv[1]) if sys.argv[1:] else BUILT
            stack = account.deploy(STACK, built=built, ProjectCreation="anyone")
            account.give_client(stack, PROJECT, CLIENT)
            with account.load_balancer(stack, listener) as balancer:
                say(_addresses(account, stack, balancer.url))
                signal.pause()
    except KeyboardInterrupt:
        say("\nThe stack and its AWS are gone.")
    except PortTaken as taken:
        return fail(f"{taken}. LOCAL_PORT sets the first of four ports.")
    except (DeployFailed, ValueError) as failure:
        return fail(str(failure))
    return 0


def _addresses(account: Account, stack: Deployment, url: str) -> str:
    variables = "\n".join(
        f"  export {name}={value}" for name, value in account.aws.environment.items()
    )
    outputs = "\n".join(f"  {name:<20}{value}" for name, value in stack.outputs.items())
    return f"""
The stack {stack.name} is deployed.
  load balancer    {url}
  OpenID provider  {account.issuer}
  AWS (ministack)  {account.aws.url}
  public keys      {account.keys_url}

Its outputs:
{outputs}

Sign in with a browser: {url}/v1/whoami

Use its AWS from another shell, for example to change a parameter:
{variables}
  .venv-sam/bin/sam deploy --template-file .aws-sam/build/template.yaml \\
      --no-confirm-changeset --parameter-overrides ProjectAdmins=user-1906

Ctrl-C takes it down.
"""


if __name__ == "__main__":
    sys.exit(main())
