"""Published versions of RunsFunction: a change publishes one, and nothing else does."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.template.deployment import Deployment
from tests.template.stack import Json, template
from tests.template.test_organisation import SETTINGS
from tests.template.test_parameters import BEARERS, BROWSERS, FULL, LISTENER, OWN

IN_VPC = {"FunctionSubnetIds": "subnet-1a1b2c3d", "FunctionSecurityGroupIds": "sg-1a1b2c3d"}

STACKS = {
    "existing listener": {**FULL, **IN_VPC},
    "own load balancer": {
        **OWN,
        **BROWSERS,
        **BEARERS,
        **IN_VPC,
        "OidcClientSecretVersion": "0" * 32,
    },
}

OTHER_TEXT = {
    "ListenerArn": LISTENER["ListenerArn"].replace("shared", "other"),
    "LoadBalancerArns": LISTENER["LoadBalancerArns"].replace("shared", "other"),
    "VpcId": "vpc-4e5f6a7b",
    "SubnetIds": "subnet-1a1b2c3d,subnet-4e5f6a7b",
    "CertificateArn": OWN["CertificateArn"].replace("0f6b4bbe", "1a2b3c4d"),
    "ClientCidr": "192.168.0.0/16",
    "AccessLogBucket": "access-logs",
    "HostName": "runs.example.com",
    "OidcClientSecretVersion": "1" * 32,
    "OidcScope": "openid email",
    "TrustedIssuers": '[{"issuer": "https://other.example.com", "audiences": ["byline"]}]',
    "OidcClientSecretArn": BROWSERS["OidcClientSecretArn"].replace("alb", "other"),
    "AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:alarms",
    **SETTINGS,
}
"""Another value for each parameter that is neither a choice, a number, an address nor free text."""

NOT_IN_A_VERSION = {"Tags", "ReservedConcurrentExecutions"}
"""Properties that Lambda applies to the function as a whole, also to versions that exist."""


@cache
def _deployment(stack: str, changed: str = "") -> Deployment:
    parameters = STACKS[stack]
    return Deployment(parameters | ({changed: _other_value(stack, changed)} if changed else {}))


def _other_value(stack: str, parameter: str) -> str:
    """A value of the parameter that differs from the one in `stack`."""
    body = template()["Parameters"][parameter]
    now = str({**STACKS[stack]}.get(parameter, body["Default"]))
    if "AllowedValues" in body:
        return next(str(value) for value in body["AllowedValues"] if str(value) != now)
    if body["Type"] == "Number":
        return str(int(now) + (-1 if int(now) == body.get("MaxValue") else 1))
    if parameter in OTHER_TEXT:
        return OTHER_TEXT[parameter]
    return "https://other.example.com" if "https://" in body.get("AllowedPattern", "") else "other"


def _configuration(deployment: Deployment) -> Json:
    """What a version of RunsFunction is made of, without the number of the configuration."""
    properties = deployment.properties("RunsFunction")
    return {
        name: value
        for name, value in properties.items()
        if name not in NOT_IN_A_VERSION | {"Description"}
    }


def _version(deployment: Deployment) -> str:
    """The published version that the alias of RunsFunction points to."""
    [version] = deployment.resources("AWS::Lambda::Version")
    alias = deployment.properties("RunsFunctionAliaslive")
    assert alias["FunctionVersion"] == f"Version of {deployment.physical_id(version)}"
    return deployment.physical_id(version)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("parameter", template()["Parameters"])
def test_changed_parameter_publishes_a_version_where_runs_function_uses_it(
    parameter: str, stack: str
) -> None:
    """A deployment that changes one value publishes a version exactly when RunsFunction changes.

    Lambda refuses to publish a version of an unchanged function, which would fail the deployment.
    """
    before, after = _deployment(stack), _deployment(stack, parameter)
    changes = _configuration(before) != _configuration(after)
    assert (_version(before) != _version(after)) is changes


@pytest.mark.parametrize(
    "parameter",
    ["ProjectAdmins", "IdentityTrust", "TrustedIssuers", "MemorySize", "Tracer", "LogLevel"],
)
def test_setting_of_runs_function_goes_live(parameter: str) -> None:
    """Each of these changes alone moves the alias to another version."""
    stack = "existing listener"
    assert _version(_deployment(stack)) != _version(_deployment(stack, parameter))


def test_replaced_load_balancer_publishes_a_version() -> None:
    """RunsFunction accepts the tokens of the new load balancer, whose ARN no parameter holds."""
    stack = "own load balancer"
    assert _version(_deployment(stack)) != _version(_deployment(stack, "Scheme"))


def test_end_of_a_long_parameter_publishes_a_version() -> None:
    """Values are compared as a whole, not by their first characters."""
    admins = ",".join(f"admin-{number:04}" for number in range(150))
    before = Deployment({**FULL, "ProjectAdmins": admins})
    after = Deployment({**FULL, "ProjectAdmins": admins[:-1] + "X"})
    assert _version(before) != _version(after)


def _code(source: Json) -> None:
    source["Resources"]["RunsFunction"]["Properties"]["CodeUri"] = "other/code"


def _layer(source: Json) -> None:
    source["Resources"]["IdentityLayer"]["Properties"]["ContentUri"] = "other/layer"


def _variable(source: Json) -> None:
    properties = source["Resources"]["RunsFunction"]["Properties"]
    properties["Environment"]["Variables"]["OTHER"] = "value"


def _property(source: Json) -> None:
    source["Resources"]["RunsFunction"]["Properties"]["Timeout"] = 26


def _role(source: Json) -> None:
    source["Parameters"]["RolePath"]["Default"] = "/other/"


def _table(source: Json) -> None:
    source["Resources"]["AccessTable"]["Properties"]["TableName"] = "other"


@pytest.mark.parametrize("change", [_code, _layer, _variable, _property, _role, _table])
def test_changed_template_publishes_a_version(change: Callable[[Json], Any]) -> None:
    """New code, a new layer, a changed property and a replaced resource each publish a version."""
    source = template()
    change(source)
    assert _version(Deployment({**FULL, **IN_VPC}, source)) != _version(
        _deployment("existing listener")
    )


def test_repeated_deployment_publishes_nothing() -> None:
    """A deployment without a change keeps version, snapshot and alias."""
    again = Deployment(STACKS["existing listener"])
    assert _version(again) == _version(_deployment("existing listener"))
