"""Two stacks of the template in one account and region share no name and no permission.

CloudFormation (moto's) resolves the documents of the roles for each stack. moto's IAM decides on
them: it knows actions and resources. It ignores conditions, so it allows no less than IAM.
"""

import json
import re
from ast import literal_eval
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.iam.access_control import IAMPolicy, PermissionResult

from byline.errors import Misconfigured
from byline.refresh.work_units import SecretNames
from byline.settings import secret_prefix
from tests.template.stack import (
    Json,
    flatten,
    listed,
    properties,
    resources,
    statements,
    template,
)

STACKS = [("prod", "stage"), ("prod", "prod-stage"), ("a", "a-clients")]
ROLE = "AWS::IAM::Role"
ROLES = sorted(resources(ROLE))
SECRETS = "secretsmanager:"
ACTIONS = sorted(
    {
        action
        for statement in statements()
        for action in listed(statement["Action"])
        if action.startswith(SECRETS)
    }
)
OF_ROLES = {
    ("RunsRole", "client"),
    ("RunsRole", "token"),
    ("RunsRole", "credential"),
    ("RefreshTokensRole", "client"),
    ("RefreshTokensRole", "token"),
}
"""Each role with the kinds of secrets that it may use. RunsRole sees whether a client's secret
exists, and `tests/permissions` holds that it cannot read one."""

OF_THIS_STACK = ("AWS::StackName", "AWS::StackId", "SecretPrefix", "StackName")
"""What makes a name that the template chooses another one in each stack."""

NO_NAMES_OF_THE_ACCOUNT = {
    # Within its function.
    ("AWS::Lambda::Alias", "Name"),
    # Within its application.
    ("AWS::AppConfig::ConfigurationProfile", "Name"),
    # What it watches.
    ("AWS::CloudWatch::Alarm", "MetricName"),
}


@pytest.fixture
def aws() -> Iterator[None]:
    """An account without stacks."""
    with mock_aws():
        yield


@cache
def flat() -> Json:
    """The templates after SAM's translation, as one."""
    return flatten(template())


PARAMETERS = ("SecretPrefix", "SecretRecoveryDays")
CONDITIONS = ("OwnSecretPrefix", "RecoverableCredentials")
"""Those of the statements on secrets."""


def deploy(stack: str, *, prefix: str = "") -> dict[str, list[IAMPolicy]]:
    """Deploy the roles with their statements on secrets. Returns each role's policies."""
    parts = {
        "Parameters": {name: flat()["Parameters"][name] for name in PARAMETERS},
        "Conditions": {name: flat()["Conditions"][name] for name in CONDITIONS},
        "Resources": {role: _on_secrets(role) for role in ROLES},
        "Outputs": {"SecretPrefix": flat()["Outputs"]["SecretPrefix"]},
    }
    boto3.client("cloudformation").create_stack(
        StackName=stack,
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": "SecretPrefix", "ParameterValue": prefix}],
        TemplateBody=json.dumps(parts),
    )
    iam = boto3.client("iam")
    summaries = boto3.client("cloudformation").list_stack_resources(StackName=stack)
    names = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in summaries["StackResourceSummaries"]
    }
    return {
        role: [
            # moto answers a document of CloudFormation as Python writes it, not as JSON.
            IAMPolicy(json.dumps(literal_eval(str(document["PolicyDocument"]))))
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
            for document in [iam.get_role_policy(RoleName=name, PolicyName=policy)]
        ]
        for role, name in names.items()
    }


def of_this_stack(value: Any) -> bool:
    """Whether a name depends on the stack, or on a resource of the stack."""
    match value:
        case {"Ref": str(name)}:
            return name in OF_THIS_STACK or name in flat()["Resources"]
        case {"Fn::Sub": str(text)}:
            return any(f"${{{name}}}" in text for name in OF_THIS_STACK)
        case {"Fn::Sub": [str(text), dict(parts)]}:
            used = [part for key, part in parts.items() if f"${{{key}}}" in text]
            return any(name in str(used) for name in OF_THIS_STACK)
    return False


def _on_secrets(role: str) -> Json:
    body = flat()["Resources"][role]
    kept = [each for each in statements(role) if SECRETS in str(each["Action"])]
    policy = {"Version": "2012-10-17", "Statement": kept}
    properties = {"AssumeRolePolicyDocument": body["Properties"]["AssumeRolePolicyDocument"]}
    if kept:
        properties["Policies"] = [{"PolicyName": "Secrets", "PolicyDocument": policy}]
    return {"Type": ROLE, "Properties": properties}


def secrets_of(prefix: str) -> dict[str, str]:
    """The ARN of a secret of each kind, whose names begin with `prefix`."""
    names = SecretNames(prefix)
    return {
        kind: f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-a1B2c3"
        for kind, name in {
            "client": names.client("apollo", "scheduler"),
            "token": names.token("apollo", "scheduler", "01m6dmbe", 0),
            "credential": names.credential("apollo", "github"),
        }.items()
    }


def allowed(policies: dict[str, list[IAMPolicy]], secrets: dict[str, str]) -> set[tuple[str, str]]:
    """Each role with the kinds of these secrets on which it may do anything at all."""
    return {
        (role, kind)
        for role, documents in policies.items()
        for kind, arn in secrets.items()
        for action in ACTIONS
        for document in documents
        if document.is_action_permitted(action, arn) == PermissionResult.PERMITTED
    }


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(("one", "other"), STACKS + [pair[::-1] for pair in STACKS])
def test_role_is_refused_the_secrets_of_another_stack(one: str, other: str) -> None:
    """Each role may use the secrets of its own stack, and no action on one of the other's, even
    where one stack's name begins with the other's."""
    policies, others = deploy(one), deploy(other)
    assert allowed(policies, secrets_of(one)) == OF_ROLES
    assert allowed(policies, secrets_of(other)) == set()
    assert allowed(others, secrets_of(other)) == OF_ROLES


@pytest.mark.usefixtures("aws")
def test_prefix_of_the_operator_replaces_the_stacks_name() -> None:
    """A deployment that keeps its old secrets sets their prefix."""
    policies = deploy("prod", prefix="byline")
    assert allowed(policies, secrets_of("byline")) == OF_ROLES
    assert allowed(policies, secrets_of("prod")) == set()


@pytest.mark.usefixtures("aws")
def test_second_stack_with_the_same_prefix_is_refused() -> None:
    """The export of the prefix exists once in an account and region, so the deployment fails."""
    deploy("prod", prefix="byline")
    with pytest.raises(ClientError, match="Export names must be unique"):
        deploy("stage", prefix="byline")


@pytest.mark.parametrize(
    "prefix",
    [
        "a",
        "A-b",
        "0",
        "prod-",
        "a" * 128,
        "-a",
        "a/b",
        "a/",
        "/",
        "*",
        "a?",
        "${x}",
        "a" * 129,
        "é",
    ],
)
def test_parameter_accepts_the_prefixes_that_the_functions_accept(prefix: str) -> None:
    """A prefix that fails the cold start is refused before the deployment."""
    pattern = template()["Parameters"]["SecretPrefix"]["AllowedPattern"]
    try:
        secret_prefix({"SECRET_PREFIX": prefix})
    except Misconfigured:
        assert not re.fullmatch(pattern, prefix)
    else:
        assert re.fullmatch(pattern, prefix)


def test_every_name_that_the_template_chooses_differs_between_stacks() -> None:
    """CloudFormation chooses all other names, and begins them with the stack's name."""
    constant = [
        (name, key, value)
        for name, body in flat()["Resources"].items()
        for key, value in body.get("Properties", {}).items()
        if key.endswith("Name")
        and (body["Type"], key) not in NO_NAMES_OF_THE_ACCOUNT
        and not of_this_stack(value)
    ]
    assert constant == []
    outputs = template()["Outputs"].values()
    exports = [output["Export"]["Name"] for output in outputs if "Export" in output]
    assert exports
    assert all(of_this_stack(export) for export in exports)


def test_session_cookie_differs_between_stacks() -> None:
    """On one listener, a session of one stack is no session of another."""
    rule = properties("AWS::ElasticLoadBalancingV2::ListenerRule", "BrowserRule")
    [sign_in] = [each for each in rule["Actions"] if each["Type"] == "authenticate-oidc"]
    assert of_this_stack(sign_in["AuthenticateOidcConfig"]["SessionCookieName"])


def test_longest_stack_name_fits_the_layers_name() -> None:
    """A stack's name has 128 characters at most, a layer's name 140."""
    [layer] = resources("AWS::Lambda::LayerVersion").values()
    name = layer["Properties"]["LayerName"]["Fn::Sub"]
    assert len(name.replace("${AWS::StackName}", "a" * 128)) <= 140
