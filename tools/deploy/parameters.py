"""The template's parameters, from a file of the operator.

A file is YAML: names of parameters with their values. A list becomes a comma-separated text;
`TrustedIssuers` is a list of issuers. What follows from other values may be left out:

- `LoadBalancerArns` from `ListenerArn`;
- `OidcAuthorizationEndpoint`, `OidcTokenEndpoint` and `OidcUserInfoEndpoint` from the discovery
  document of `OidcIssuer`;
- `BearerJwksEndpoint` from the discovery document of `BearerIssuer`;
- `PublicUrl` from `HostName`.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from local.template_yaml import read_template

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
DISCOVERED = {
    "OidcIssuer": {
        "OidcAuthorizationEndpoint": "authorization_endpoint",
        "OidcTokenEndpoint": "token_endpoint",
        "OidcUserInfoEndpoint": "userinfo_endpoint",
    },
    "BearerIssuer": {"BearerJwksEndpoint": "jwks_uri"},
}
TIMEOUT_SECONDS = 10

type Discover = Callable[[str], Mapping[str, Any]]


class UnusableParameters(Exception):
    """A file of parameters cannot be deployed. The text names the parameter and says why."""


def read_parameters(path: Path, *, discover: Discover) -> dict[str, str]:
    """Every parameter of the template with its value: the file's, derived, or the default.

    `discover`: the discovery document of an issuer. Raises `UnusableParameters`.
    """
    declared: dict[str, dict[str, Any]] = read_template(TEMPLATE)["Parameters"]
    written = _mapping(path)
    if unknown := written.keys() - declared.keys():
        raise UnusableParameters(f"{min(unknown)} is no parameter. See docs/settings.md.")
    given = {name: text_of(name, value, declared[name]) for name, value in written.items()}
    values = {name: str(body.get("Default", "")) for name, body in declared.items()} | given
    values |= derived(values, given, discover=discover)
    for name, body in declared.items():
        check(name, values[name], body)
    return values


def text_of(name: str, value: Any, declared: Mapping[str, Any]) -> str:
    """A value of the file as CloudFormation takes it. YAML reads `on` and `off` as booleans."""
    match value:
        case None:
            return ""
        case bool() if "on" in declared.get("AllowedValues", ()):
            return "on" if value else "off"
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
        case list() if name == "TrustedIssuers":
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        case list() if all(isinstance(each, str | int) for each in value):
            return ",".join(map(str, value))
    raise UnusableParameters(f"{name} is neither a text, a number nor a list of them.")


def derived(
    values: Mapping[str, str], given: Mapping[str, str], *, discover: Discover
) -> dict[str, str]:
    """The values that follow from others and are not in the file."""
    found = {}
    if values["ListenerArn"] and values["OidcIssuer"] and "LoadBalancerArns" not in given:
        found["LoadBalancerArns"] = load_balancer_of(values["ListenerArn"])
    if values["HostName"] and "PublicUrl" not in given:
        found["PublicUrl"] = f"https://{values['HostName'].lower()}"
    for issuer, members in DISCOVERED.items():
        missing = members.keys() - given.keys()
        if values[issuer] and missing:
            document = discover(values[issuer])
            for name in missing:
                if not isinstance(document.get(members[name]), str):
                    raise UnusableParameters(
                        f"{name}: the discovery document of {values[issuer]} has no"
                        f" `{members[name]}`. Write it into the file."
                    )
                found[name] = document[members[name]]
    return found


def load_balancer_of(listener: str) -> str:
    """The ARN of the load balancer that a listener's ARN names."""
    return listener.replace(":listener/", ":loadbalancer/").rpartition("/")[0]


def discovery_document(issuer: str) -> Mapping[str, Any]:
    """The document of `<issuer>/.well-known/openid-configuration`, which must name that issuer.

    https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
    """
    address = f"{issuer.removesuffix('/')}/.well-known/openid-configuration"
    try:
        answer = httpx.get(address, timeout=TIMEOUT_SECONDS).raise_for_status()
        document: Mapping[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise UnusableParameters(
            f"{address}: {type(error).__name__}. Write the endpoints."
        ) from None
    if document.get("issuer") != issuer:
        raise UnusableParameters(
            f"{address} names the issuer {document.get('issuer')!r}, and the file {issuer!r}."
        )
    return document


def check(name: str, value: str, declared: Mapping[str, Any]) -> None:
    """Raise `UnusableParameters` where CloudFormation would refuse the value."""
    allowed = declared.get("AllowedValues")
    if allowed is not None and value not in map(str, allowed):
        raise UnusableParameters(f"{name} is {value!r}. Values: {', '.join(map(str, allowed))}.")
    if declared["Type"] == "Number":
        if not re.fullmatch(r"-?\d+", value):
            raise UnusableParameters(f"{name} is {value!r}, and must be a number.")
        low, high = declared.get("MinValue"), declared.get("MaxValue")
        if (low is not None and int(value) < low) or (high is not None and int(value) > high):
            raise UnusableParameters(f"{name} is {value}, and must be between {low} and {high}.")
    pattern = declared.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(pattern, value):
        raise UnusableParameters(f"{name} is {value!r}, and must match {pattern}")
    if len(value) > declared.get("MaxLength", 4096):
        raise UnusableParameters(
            f"{name} has {len(value)} characters, and may have {declared.get('MaxLength', 4096)}."
        )


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UnusableParameters(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise UnusableParameters(f"{path} holds no parameters.")
    return content
