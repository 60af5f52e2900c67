"""What is left to do after a deployment, from the stack's outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CALLBACK = "/oauth2/idpresponse"
"""Where the load balancer receives the answer of the OpenID provider.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html"""


@dataclass(frozen=True, slots=True)
class LoadBalancerAddress:
    """A load balancer's own name, and the hosted zone id that an alias record to it needs."""

    name: str
    zone: str


def stack_outputs(client: Any, stack: str) -> dict[str, str]:
    """The outputs of a stack. `client`: of CloudFormation."""
    [found] = client.describe_stacks(StackName=stack)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}


def load_balancer_address(client: Any, arn: str) -> LoadBalancerAddress:
    """The address of a load balancer. `client`: of Elastic Load Balancing v2."""
    [found] = client.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"]
    return LoadBalancerAddress(found["DNSName"], found["CanonicalHostedZoneId"])


def left_to_do(
    parameters: Mapping[str, str], address: LoadBalancerAddress
) -> list[tuple[str, str]]:
    """Each setting that DNS and the OpenID provider need, with its value."""
    host = parameters["HostName"] or address.name
    lines = [("Byline answers at", f"https://{host}")]
    if parameters["HostName"]:
        lines += [
            ("DNS: alias record for", host),
            ("  alias target", address.name),
            ("  hosted zone id of the target", address.zone),
        ]
    if parameters["OidcIssuer"]:
        lines += [
            ("OpenID provider", parameters["OidcIssuer"]),
            ("  client id", parameters["OidcClientId"]),
            ("  redirect URI", f"https://{host}{CALLBACK}"),
        ]
    return lines
