"""Least privilege: the shape of the roles, and who may invoke the functions.

`tests/permissions` proves by evaluation what each role allows.
"""

import re
from typing import Any

import pytest

from byline.tables.rows import AUDIT
from refresh_tokens.web_identity import LIFETIME_SECONDS
from tests.template.stack import NO_VALUE, listed, properties, resources, statements, template

WITHOUT_RESOURCES = {
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "dynamodb:ListStreams",
    "sts:GetWebIdentityToken",
}
"""Actions for which IAM knows no resource but `*`.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html"""

SECRETS = re.compile(
    r"arn:\$\{AWS::Partition\}:secretsmanager:\$\{AWS::Region\}:\$\{AWS::AccountId\}"
    r":secret:\$\{Prefix\}/(clients|tokens|credentials)/\*"
)
"""A wildcard within ARNs: a secret's ends in six characters that Secrets Manager chooses."""

PREFIX = {"Fn::If": ["OwnSecretPrefix", {"Ref": "SecretPrefix"}, {"Ref": "AWS::StackName"}]}
"""The first part of the names of this stack's secrets."""

KEYS = {"Fn::Sub": "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*"}
"""The keys of clients' secrets, which are in no parameter. The second wildcard within ARNs."""

OF_SCHEDULES = ("TickRole", "RegistrationPassRole")


def test_no_permission_has_a_wildcard_where_a_resource_is_possible() -> None:
    """`*` alone is for actions without resources, and in ARNs only for secrets and keys."""
    for statement in statements():
        for resource in listed(statement["Resource"]):
            if resource == "*":
                assert set(listed(statement["Action"])) <= WITHOUT_RESOURCES
            elif resource == KEYS:
                # Whichever key the client's secret has: see the condition of the statement.
                assert listed(statement["Action"]) == ["kms:Decrypt"]
            elif "*" in str(resource):
                arn, parts = resource["Fn::Sub"]
                assert SECRETS.fullmatch(arn)
                assert parts == {"Prefix": PREFIX}


def test_no_permission_has_a_wildcard_action() -> None:
    """Every action is named."""
    assert not [
        action
        for statement in statements()
        for action in listed(statement["Action"])
        if "*" in action
    ]


def test_roles_have_no_policies_from_elsewhere() -> None:
    """The template contains each permission of the functions, also those under a condition."""
    policies = resources("AWS::IAM::ManagedPolicy")
    for role in resources("AWS::IAM::Role").values():
        for attached in role["Properties"].get("ManagedPolicyArns", []):
            condition, policy, otherwise = attached["Fn::If"]
            assert otherwise == NO_VALUE
            assert policies[policy["Ref"]]["Condition"] == condition
    for function in resources("AWS::Lambda::Function").values():
        # Without a role SAM makes one, with a managed policy that allows logs everywhere.
        assert function["Properties"]["Role"]["Fn::GetAtt"][0] in resources("AWS::IAM::Role")


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_role_can_be_assumed_by_one_service(role: str) -> None:
    """Only Lambda can assume a function's role, only the scheduler a schedule's role."""
    [trust] = properties("AWS::IAM::Role", role)["AssumeRolePolicyDocument"]["Statement"]
    service = "scheduler" if role in OF_SCHEDULES else "lambda"
    assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert trust["Action"] == "sts:AssumeRole"


@pytest.mark.parametrize("role", OF_SCHEDULES)
def test_schedules_of_other_accounts_cannot_assume_the_role(role: str) -> None:
    """The scheduler serves all accounts, and the condition limits the role to this account."""
    body = properties("AWS::IAM::Role", role)["AssumeRolePolicyDocument"]
    [trust] = body["Statement"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_every_function_has_a_role_of_its_own() -> None:
    """No two functions share a role."""
    functions = resources("AWS::Lambda::Function").values()
    roles = [function["Properties"]["Role"]["Fn::GetAtt"][0] for function in functions]
    assert len(set(roles)) == len(roles)


def test_audit_records_are_never_changed() -> None:
    """IAM denies changes of audit records, even where another statement allows them."""
    [denied] = [statement for statement in statements() if statement["Effect"] == "Deny"]
    assert denied in statements("RunsRole")
    assert denied["Resource"] == {"Fn::GetAtt": ["AccessTable", "Arn"]}
    assert set(denied["Action"]) == {
        f"dynamodb:{action}" for action in ("UpdateItem", "DeleteItem", "BatchWriteItem")
    }
    assert denied["Condition"] == {
        "ForAnyValue:StringLike": {"dynamodb:LeadingKeys": [f"{AUDIT}*"]}
    }


AUDIENCES = {"Fn::Split": [",", {"Ref": "WebIdentityAudiences"}]}


def test_role_gets_web_identity_tokens_for_the_named_audiences_only() -> None:
    """One role has the policy, none by default, and each token lives for a minute."""
    policy = resources("AWS::IAM::ManagedPolicy")["WebIdentityPolicy"]
    assert policy["Condition"] == "WebIdentity"
    [statement] = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:GetWebIdentityToken"
    assert statement["Condition"] == {
        "ForAllValues:StringEquals": {"sts:IdentityTokenAudience": AUDIENCES},
        "Null": {"sts:IdentityTokenAudience": "false"},
        "NumericLessThanEquals": {"sts:DurationSeconds": LIFETIME_SECONDS},
    }
    attached = {
        name
        for name, role in resources("AWS::IAM::Role").items()
        if "WebIdentityPolicy" in str(role["Properties"].get("ManagedPolicyArns"))
    }
    assert attached == {"RefreshTokensRole"}


@pytest.mark.parametrize("function", resources("AWS::Lambda::Function"))
def test_function_writes_only_into_its_own_log_group(function: str) -> None:
    """A function can neither write into another log group nor create one."""
    body = properties("AWS::Lambda::Function", function)
    [logs] = [
        statement
        for statement in statements(body["Role"]["Fn::GetAtt"][0])
        if statement["Sid"] == "Logs"
    ]
    assert logs["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert logs["Resource"] == {"Fn::GetAtt": [body["LoggingConfig"]["LogGroup"]["Ref"], "Arn"]}


PERMISSIONS = {"BrowserPermission": "BrowserTargetGroup", "BearerPermission": "BearerTargetGroup"}


def test_only_the_two_target_groups_may_invoke() -> None:
    """The template has one permission for each target group of RunsFunction and no other.

    The console's function has one of its own.
    """
    permissions = resources("AWS::Lambda::Permission")
    assert permissions.keys() == PERMISSIONS.keys() | {"ConsolePermission"}


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_permission_is_bound_to_account_group_and_alias(permission: str) -> None:
    """Lambda refuses other accounts and other target groups."""
    body = properties("AWS::Lambda::Permission", permission)
    assert body["FunctionName"] == {"Ref": "RunsFunctionAliaslive"}
    assert body["Principal"] == "elasticloadbalancing.amazonaws.com"
    assert body["SourceAccount"] == {"Ref": "AWS::AccountId"}
    name, suffix = _name(PERMISSIONS[permission])
    arn, arn_suffix = body["SourceArn"]["Fn::Sub"]
    assert arn == (
        "arn:${AWS::Partition}:elasticloadbalancing:${AWS::Region}:${AWS::AccountId}:"
        f"targetgroup/{name}/*"
    )
    assert arn_suffix == suffix


@pytest.mark.parametrize(
    ("group", "variable"),
    [("BrowserTargetGroup", "BROWSER_TARGET_GROUP"), ("BearerTargetGroup", "BEARER_TARGET_GROUP")],
)
def test_function_gets_the_arns_of_its_target_groups(group: str, variable: str) -> None:
    """The variable is the ARN without its id; the group's name has at most 32 characters."""
    function = properties("AWS::Lambda::Function", "RunsFunction")
    name, suffix = _name(group)
    assert function["Environment"]["Variables"][variable] == {
        "Fn::Sub": [
            "arn:${AWS::Partition}:elasticloadbalancing:${AWS::Region}:${AWS::AccountId}:"
            f"targetgroup/{name}",
            suffix,
        ]
    }
    assert suffix == {"Suffix": _first_of_stack_id()}
    assert len(name.replace("${Suffix}", "12345678")) <= 32


def test_target_group_depends_on_its_permission() -> None:
    """AWS refuses to register a function that the load balancer may not invoke."""
    for permission, group in PERMISSIONS.items():
        assert template()["Resources"][group]["DependsOn"] == permission


def _sub(group: str) -> Any:
    return properties("AWS::ElasticLoadBalancingV2::TargetGroup", group)["Name"]


def _name(group: str) -> tuple[str, Any]:
    name, suffix = _sub(group)["Fn::Sub"]
    return name, suffix


def _first_of_stack_id() -> Any:
    uuid = {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}
    return {"Fn::Select": [0, {"Fn::Split": ["-", uuid]}]}
