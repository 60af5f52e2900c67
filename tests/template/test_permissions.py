"""Least privilege: what each role allows, and who may invoke the functions."""

import re
from typing import Any

import pytest

from serve_runs.audit.trail import AUDIT
from tests.template.stack import (
    NO_VALUE,
    listed,
    properties,
    resources,
    sources,
    statements,
    template,
)

WITHOUT_RESOURCES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
"""Actions for which IAM knows no resource but `*`.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html"""

SECRETS = re.compile(
    r"arn:\$\{AWS::Partition\}:secretsmanager:\$\{AWS::Region\}:\$\{AWS::AccountId\}"
    r":secret:\$\{Prefix\}/(clients|runners|credentials)/\*"
)
"""A wildcard within ARNs: a secret's ends in six characters that Secrets Manager chooses."""

PREFIX = {"Fn::If": ["OwnSecretPrefix", {"Ref": "SecretPrefix"}, {"Ref": "AWS::StackName"}]}
"""The first part of the names of this stack's secrets."""

STREAMS = {"Fn::Sub": "${RunsTable.Arn}/stream/*"}
"""The other one: Lambda looks for a table's stream among all that it has had."""


KEYS = {"Fn::Sub": "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*"}

OF_SCHEDULES = ("TickRole", "RegistrationPassRole")


def test_no_permission_has_a_wildcard_where_a_resource_is_possible() -> None:
    """`*` alone is used only for actions without resources, and in ARNs only for two kinds."""
    for statement in statements():
        for resource in listed(statement["Resource"]):
            if resource == "*":
                assert set(listed(statement["Action"])) <= WITHOUT_RESOURCES
            elif resource == STREAMS:
                assert listed(statement["Action"]) == ["dynamodb:ListStreams"]
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
        for attached in role["Properties"]["ManagedPolicyArns"]:
            condition, policy, otherwise = attached["Fn::If"]
            assert otherwise == NO_VALUE
            assert policies[policy["Ref"]]["Condition"] == condition
    for function in resources("AWS::Lambda::Function").values():
        # Without a role SAM makes one, with a managed policy that allows logs everywhere.
        assert function["Properties"]["Role"]["Fn::GetAtt"][0] in ALLOWED


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


RUNS, RUNNERS, ACCESS, QUEUE, DEAD_LETTERS = (
    {"Fn::GetAtt": [name, "Arn"]}
    for name in ("RunsTable", "RunnersTable", "AccessTable", "RefreshQueue", "RefreshDeadLetters")
)
RUNS_STREAM = {"Fn::GetAtt": ["RunsTable", "StreamArn"]}
REGISTRATION_DEAD_LETTERS = {"Fn::GetAtt": ["RegistrationDeadLetters", "Arn"]}
BY_UNREGISTERED = {"Fn::Sub": "${RunsTable.Arn}/index/by-unregistered"}
BY_CREATOR = {"Fn::Sub": "${RunsTable.Arn}/index/by-creator"}
BY_LIVE = {"Fn::Sub": "${RunsTable.Arn}/index/by-live"}
BY_DUE = {"Fn::Sub": "${RunnersTable.Arn}/index/by-due"}
BY_EMAIL = {"Fn::Sub": "${AccessTable.Arn}/index/by-email"}
BY_PERSON = {"Fn::Sub": "${AccessTable.Arn}/index/by-person"}
CLIENTS, TOKENS, CREDENTIALS = (
    {
        "Fn::Sub": [
            "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}"
            f":secret:${{Prefix}}/{folder}/*",
            {"Prefix": PREFIX},
        ]
    }
    for folder in ("clients", "runners", "credentials")
)

ALLOWED: dict[str, list[tuple[str, Any]]] = {
    "RunsRole": [
        *(
            (f"dynamodb:{action}", RUNS)
            for action in (
                "GetItem",
                "PutItem",
                "UpdateItem",
                "DeleteItem",
                "ConditionCheckItem",
                "Query",
            )
        ),
        ("dynamodb:Query", BY_CREATOR),
        ("dynamodb:Query", BY_LIVE),
        *(
            (f"dynamodb:{action}", RUNNERS)
            for action in ("GetItem", "PutItem", "DeleteItem", "ConditionCheckItem", "Query")
        ),
        *(
            (f"dynamodb:{action}", ACCESS)
            for action in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query")
        ),
        ("dynamodb:BatchGetItem", ACCESS),
        ("dynamodb:Query", BY_EMAIL),
        ("dynamodb:Query", BY_PERSON),
        ("sqs:SendMessage", QUEUE),
        ("secretsmanager:GetSecretValue", TOKENS),
        *(
            (f"secretsmanager:{action}", CREDENTIALS)
            for action in (
                "CreateSecret",
                "PutSecretValue",
                "GetSecretValue",
                "DeleteSecret",
                "RestoreSecret",
            )
        ),
    ],
    "PlanRefreshRole": [
        ("dynamodb:Query", BY_DUE),
        ("sqs:SendMessage", QUEUE),
        ("sqs:SendMessage", DEAD_LETTERS),
    ],
    "RefreshTokensRole": [
        *(
            (f"dynamodb:{action}", RUNNERS)
            for action in ("GetItem", "BatchGetItem", "PutItem", "DeleteItem", "Query")
        ),
        ("dynamodb:Query", BY_DUE),
        *(
            (f"sqs:{action}", QUEUE)
            for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "SendMessage")
        ),
        ("secretsmanager:GetSecretValue", CLIENTS),
        ("kms:Decrypt", KEYS),
        *(
            (f"secretsmanager:{action}", TOKENS)
            for action in ("GetSecretValue", "PutSecretValue", "CreateSecret", "DeleteSecret")
        ),
    ],
    "RegisterResourcesRole": [
        *((f"dynamodb:{action}", RUNS) for action in ("GetItem", "UpdateItem", "DeleteItem")),
        ("dynamodb:Query", BY_UNREGISTERED),
        *(
            (f"dynamodb:{action}", RUNS_STREAM)
            for action in ("DescribeStream", "GetRecords", "GetShardIterator")
        ),
        ("dynamodb:ListStreams", STREAMS),
        ("sqs:SendMessage", REGISTRATION_DEAD_LETTERS),
    ],
    "RegistrationPassRole": [
        ("lambda:InvokeFunction", {"Fn::GetAtt": ["RegisterResourcesFunction", "Arn"]}),
        ("sqs:SendMessage", REGISTRATION_DEAD_LETTERS),
    ],
    "TickRole": [
        ("lambda:InvokeFunction", {"Fn::GetAtt": ["PlanRefreshFunction", "Arn"]}),
        ("sqs:SendMessage", DEAD_LETTERS),
    ],
}
"""Beside logs and traces, all that each role allows. No role can scan, list or administer.
RunsRole cannot access client secrets, and PlanRefreshRole cannot access any secret."""


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_role_allows_only_the_listed_actions(role: str) -> None:
    """A role allows the actions of ALLOWED on their resources and no others."""
    allowed = [
        (action, str(resource))
        for statement in statements(role)
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if action.partition(":")[0] not in {"logs", "xray"}
    ]
    assert sorted(allowed) == sorted((action, str(resource)) for action, resource in ALLOWED[role])


def test_audit_records_are_never_changed() -> None:
    """IAM denies changes of audit records, even where another statement allows them."""
    [denied] = [statement for statement in statements() if statement["Effect"] == "Deny"]
    assert denied in statements("RunsRole")
    assert denied["Resource"] == ACCESS
    assert set(denied["Action"]) == {
        f"dynamodb:{action}" for action in ("UpdateItem", "DeleteItem", "BatchWriteItem")
    }
    assert denied["Condition"] == {
        "ForAnyValue:StringLike": {"dynamodb:LeadingKeys": [f"{AUDIT}*"]}
    }


CALLS = {
    "get_item": "dynamodb:GetItem",
    "batch_get_item": "dynamodb:BatchGetItem",
    "put_item": "dynamodb:PutItem",
    "update_item": "dynamodb:UpdateItem",
    "delete_item": "dynamodb:DeleteItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
    "send_message": "sqs:SendMessage",
    "send_message_batch": "sqs:SendMessage",
    "get_secret_value": "secretsmanager:GetSecretValue",
    "describe_secret": "secretsmanager:DescribeSecret",
    "put_secret_value": "secretsmanager:PutSecretValue",
    "create_secret": "secretsmanager:CreateSecret",
    "delete_secret": "secretsmanager:DeleteSecret",
    "restore_secret": "secretsmanager:RestoreSecret",
}
"""The clients' methods, and what each needs. A transaction needs what its members do."""

HELPERS = {"read_rows": "dynamodb:BatchGetItem"}
"""Functions of `byline.tables.rows` that call DynamoDB for their callers, and what each needs."""

OF_THE_EVENT_SOURCE = {
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}
"""Lambda itself calls these, by the function's role, and sends what fails to the dead letters.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html"""


OF_SECRETS_MANAGER = {"kms:Decrypt"}
"""Secrets Manager calls it by the function's role, for a secret with a key of the customer."""


@pytest.mark.parametrize("function", resources("AWS::Lambda::Function"))
def test_role_matches_the_calls_of_its_function(function: str) -> None:
    """The role allows each AWS call in the code, and nothing that the code does not call."""
    body = properties("AWS::Lambda::Function", function)
    # Every function that reads an item imports the helpers, so only calls of them count.
    modules = [module for module in sources(function) if module.name != "rows.py"]
    code = "".join(module.read_text() for module in modules)
    calls = re.findall(rf"\.({'|'.join(CALLS)})\(", code)
    members = re.findall(r'"(Put|Update|Delete|ConditionCheck)":', code)
    needed = {CALLS[call] for call in calls} | {f"dynamodb:{member}Item" for member in members}
    needed |= {action for helper, action in HELPERS.items() if f"{helper}(" in code}
    allowed = {
        action
        for action, resource in ALLOWED[body["Role"]["Fn::GetAtt"][0]]
        if resource not in (DEAD_LETTERS, REGISTRATION_DEAD_LETTERS)
    }
    assert needed == allowed - OF_THE_EVENT_SOURCE - OF_SECRETS_MANAGER


def test_registration_deletes_no_run() -> None:
    """The role can delete only claims, by their partition key."""
    [deletion] = [
        statement
        for statement in statements("RegisterResourcesRole")
        if "dynamodb:DeleteItem" in listed(statement["Action"])
    ]
    assert deletion["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["registration#*"]}
    }


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
    """The template has one permission for each target group and no other."""
    assert resources("AWS::Lambda::Permission").keys() == PERMISSIONS.keys()


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
def test_function_gets_the_names_of_its_target_groups(group: str, variable: str) -> None:
    """The variable is the target group's name, which has at most 32 characters."""
    function = properties("AWS::Lambda::Function", "RunsFunction")
    assert function["Environment"]["Variables"][variable] == _sub(group)
    name, suffix = _name(group)
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
