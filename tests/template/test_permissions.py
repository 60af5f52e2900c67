"""Least privilege: what the functions may do, and who may invoke them."""

from typing import Any

import pytest

from tests.template.stack import listed, properties, resources, statements, template

WITHOUT_RESOURCES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
"""Actions for which IAM knows no resource but `*`.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html"""


def test_no_permission_has_a_wildcard_where_a_resource_is_possible() -> None:
    """`*` stands alone only for actions that have no resources, and within no ARN."""
    for statement in statements():
        for resource in listed(statement["Resource"]):
            if resource == "*":
                assert set(listed(statement["Action"])) <= WITHOUT_RESOURCES
            else:
                assert "*" not in str(resource)


def test_no_permission_has_a_wildcard_action() -> None:
    """Every action is named."""
    assert not [
        action
        for statement in statements()
        for action in listed(statement["Action"])
        if "*" in action
    ]


def test_roles_have_no_policies_from_elsewhere() -> None:
    """No managed policy: whoever reads the template reads every permission."""
    for role in resources("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role["Properties"]
    for function in resources("AWS::Serverless::Function").values():
        # Without a role SAM makes one, with a managed policy that allows logs everywhere.
        assert "Role" in function["Properties"]
        assert "Policies" not in function["Properties"]


def test_role_is_for_lambda_alone() -> None:
    """Only Lambda itself may take a function's role."""
    for role in resources("AWS::IAM::Role").values():
        [trust] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}
        assert trust["Action"] == "sts:AssumeRole"


def test_runs_function_reaches_only_its_table() -> None:
    """Items of RunsTable, queries of its index, and nothing that scans, lists or administers."""
    allowed = {
        (action, str(resource))
        for statement in statements()
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if action.startswith("dynamodb:")
    }
    table = str({"Fn::GetAtt": ["RunsTable", "Arn"]})
    index = str({"Fn::Sub": "${RunsTable.Arn}/index/by-creator"})
    assert allowed == {
        ("dynamodb:GetItem", table),
        ("dynamodb:PutItem", table),
        ("dynamodb:UpdateItem", table),
        ("dynamodb:DeleteItem", table),
        ("dynamodb:Query", table),
        ("dynamodb:Query", index),
    }


PERMISSIONS = {"BrowserPermission": "BrowserTargetGroup", "BearerPermission": "BearerTargetGroup"}


def test_only_the_two_target_groups_may_invoke() -> None:
    """There is a permission for each of the two groups and no other."""
    assert resources("AWS::Lambda::Permission").keys() == PERMISSIONS.keys()


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_permission_is_bound_to_account_group_and_alias(permission: str) -> None:
    """A load balancer of another account, or another group of ours, is refused by Lambda."""
    body = properties("AWS::Lambda::Permission", permission)
    assert body["FunctionName"] == {"Ref": "RunsFunction.Alias"}
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
def test_function_is_told_the_names_of_its_groups(group: str, variable: str) -> None:
    """The name by which a credential is chosen is the group's own, and of a legal length."""
    function = properties("AWS::Serverless::Function", "RunsFunction")
    assert function["Environment"]["Variables"][variable] == _sub(group)
    name, suffix = _name(group)
    assert suffix == {"Suffix": _first_of_stack_id()}
    assert len(name.replace("${Suffix}", "12345678")) <= 32


def test_group_is_made_after_its_permission() -> None:
    """A function can be registered only where the load balancer may invoke it already."""
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
