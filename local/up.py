"""`make up`: runs the stack on this machine until it is interrupted."""

import os
import signal
import subprocess
import sys
import webbrowser
from collections.abc import Callable
from ipaddress import IPv4Interface
from types import FrameType

from local.aws import ROOT
from local.container_relay import ContainerRelay, docker_bridge
from local.demo import Demo
from local.demo_lines import Lines
from local.function_instance import InitFailed
from local.listening import DEFAULT_PORT, PortTaken
from local.openid_client import ProviderFailed
from local.outside_provider import OutsideProvider
from local.stack import Ports, Stack

LOGS = ROOT / ".local" / "logs"
PROJECT = "apollo"
CLIENTS = ("nightly-train", "short-lived")
"""The clients of our provider that runners of the project can use."""


def main() -> int:
    """Run the stack until SIGINT or SIGTERM. Returns the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # SIGINT too, because a background process of a script ignores it.
        signal.signal(number, interrupt)
    try:
        ports = ports_from(os.environ.get("LOCAL_PORT") or DEFAULT_PORT)
        outside = OutsideProvider.from_environment(os.environ)
        story = _story(outside)
        opens_browser = _is_on("LOCAL_BROWSER", default="off")
        for_containers = [ports.provider, ports.aws, ports.keys]
        with (
            Stack(
                ports=ports,
                outside=outside,
                authorization_service_url=os.environ.get("LOCAL_AUTHORIZATION_SERVICE_URL", ""),
                log_folder=LOGS,
                access_log=say,
                progress=lambda step: say(f"… {step}"),
            ) as stack,
            ContainerRelay(
                for_containers,
                find_bridge=_bridge_finder(),
                log=lambda line: say(f"… {line}"),
            ),
        ):
            _seed(stack)
            if story:
                Demo(stack, Lines()).run()
            say(_addresses(stack))
            if opens_browser and not webbrowser.open(f"{stack.url}/"):
                say("There is no browser on this machine. BROWSER names the command of one.")
            signal.pause()
    except KeyboardInterrupt:
        say("\nByline is down.")
    except PortTaken as taken:
        return fail(
            f"{taken}. LOCAL_PORT sets the first of four ports, say: LOCAL_PORT=9080 make up"
        )
    except InitFailed as failed:
        return fail(f"a function did not start: {failed}. Its log is in {LOGS.relative_to(ROOT)}/")
    except (ProviderFailed, ValueError) as failure:
        return fail(str(failure))
    return 0


def ports_from(first: str) -> Ports:
    """The four ports from `first` on, the value of LOCAL_PORT. Raises `ValueError`."""
    if not (first.isascii() and first.isdigit() and 0 < int(first) <= 65_535 - 3):
        raise ValueError("LOCAL_PORT is the first of four ports, a number up to 65532")
    return Ports.from_first(int(first))


def _is_on(variable: str, *, default: str) -> bool:
    """A switch of the environment. Raises `ValueError` for another value than `on` and `off`."""
    value = os.environ.get(variable) or default
    if value not in ("on", "off"):
        raise ValueError(f"{variable} is `on` or `off`")
    return value == "on"


def _bridge_finder() -> Callable[[], IPv4Interface | None]:
    return docker_bridge if _is_on("LOCAL_CONTAINERS", default="on") else lambda: None


def _story(outside: OutsideProvider | None) -> bool:
    is_on = _is_on("LOCAL_STORY", default="off")
    if is_on and outside is not None:
        raise ValueError("LOCAL_STORY=on needs the built-in OpenID provider and its people")
    return is_on


def _seed(stack: Stack) -> None:
    """Store the runs and runners of the sample events, and the clients of runners."""
    if stack.provider is not None:
        for client in CLIENTS:
            stack.give_client(PROJECT, client)
    environment = stack.functions["RunsFunction"].environment
    for samples in ("tools.sample_runs", "tools.sample_runners"):
        subprocess.run([sys.executable, "-m", samples], cwd=ROOT, env=environment, check=True)


def _addresses(stack: Stack) -> str:
    machine = ""
    if stack.provider is not None:
        machine = f"""
Call it as a service account:
  token=$(curl -s {stack.issuer}/token -u nightly-train:nightly-train-secret \\
      -d grant_type=client_credentials | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
  curl {stack.url}/v1/whoami -H "authorization: Bearer $token"

Register a runner, and see its token being replaced every 15 seconds:
  runner={stack.url}/v1/projects/{PROJECT}/runners/trainer
  curl -X PUT $runner -H "authorization: Bearer $token" -H "content-type: application/json" \\
      -d '{{"client": "short-lived", "subject": "nightly-train"}}'
  curl $runner -H "authorization: Bearer $token"
  curl $runner/token -H "authorization: Bearer $token"
"""
    return f"""
Byline is up.
  load balancer    {stack.url}
  OpenID provider  {stack.issuer}
  AWS (moto)       {stack.aws.url}
  public keys      {stack.keys_url}
  logs             {LOGS.relative_to(ROOT)}/

Open the console in a browser: {stack.url}/
{machine}
Ctrl-C takes it down.
"""


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End `signal.pause`."""
    raise KeyboardInterrupt


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def fail(text: str) -> int:
    """Print the error. Returns the exit status."""
    print(f"byline: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
