"""Least privilege: what the functions may do, and who may invoke them."""

import re
from typing import Any

import pytest

from serve_runs.audit.records import AUDIT
from tests.template.stack import ROOT, listed, properties, resources, statements, template

WITHOUT_RESOURCES = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
"""Actions for which IAM knows no resource but `*`.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html"""

SECRETS = re.compile(
    r"arn:\$\{AWS::Partition\}:secretsmanager:\$\{AWS::Region\}:\$\{AWS::AccountId\}"
    r":secret:byline/(clients|runners|credentials)/\*"
)
"""A wildcard within ARNs: a secret's ends in six characters that Secrets Manager chooses."""

STREAMS = {"Fn::Sub": "${RunsTable.Arn}/stream/*"}
"""The other one: Lambda looks for a table's stream among all that it has had."""


OF_SCHEDULES = ("TickRole", "RegistrationPassRole")


def test_no_permission_has_a_wildcard_where_a_resource_is_possible() -> None:
    """`*` stands alone only for actions that have no resources, and within two kinds of ARNs."""
    for statement in statements():
        for resource in listed(statement["Resource"]):
            if resource == "*":
                assert set(listed(statement["Action"])) <= WITHOUT_RESOURCES
            elif resource == STREAMS:
                assert listed(statement["Action"]) == ["dynamodb:ListStreams"]
            elif "*" in str(resource):
                assert SECRETS.fullmatch(resource["Fn::Sub"])


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


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_role_is_for_one_service_alone(role: str) -> None:
    """Only Lambda itself may take a function's role, and the schedule's is the scheduler's."""
    [trust] = properties("AWS::IAM::Role", role)["AssumeRolePolicyDocument"]["Statement"]
    service = "scheduler" if role in OF_SCHEDULES else "lambda"
    assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert trust["Action"] == "sts:AssumeRole"


@pytest.mark.parametrize("role", OF_SCHEDULES)
def test_schedules_of_other_accounts_may_not_borrow_the_role(role: str) -> None:
    """The scheduler works for every account; it may use the role for ours alone."""
    body = properties("AWS::IAM::Role", role)["AssumeRolePolicyDocument"]
    [trust] = body["Statement"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_every_function_has_a_role_of_its_own() -> None:
    """What one function needs is given to no other."""
    functions = resources("AWS::Serverless::Function").values()
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
BY_DUE = {"Fn::Sub": "${RunnersTable.Arn}/index/by-due"}
BY_EMAIL = {"Fn::Sub": "${AccessTable.Arn}/index/by-email"}
BY_PERSON = {"Fn::Sub": "${AccessTable.Arn}/index/by-person"}
CLIENTS, TOKENS, CREDENTIALS = (
    {
        "Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}"
        f":secret:byline/{folder}/*"
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
"""Beside logs and traces, all that each role allows. Nothing scans, lists or administers; whoever
answers requests reads no client's secret and writes none; whoever plans, none at all."""


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_role_allows_what_its_function_does_and_nothing_else(role: str) -> None:
    """Each action on each resource is one that the code needs."""
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
    """IAM itself refuses to update or delete one, whatever a later statement allows."""
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
"""The functions of `byline.tables` that call DynamoDB by themselves."""

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


@pytest.mark.parametrize("function", resources("AWS::Serverless::Function"))
def test_function_calls_what_its_role_allows_and_all_of_it(function: str) -> None:
    """Neither a call that IAM would refuse, nor a permission that nobody needs any more."""
    body = properties("AWS::Serverless::Function", function)
    package = body["Handler"].partition(".")[0]
    sources = (ROOT / body["CodeUri"] / package).rglob("*.py")
    code = "".join(module.read_text() for module in sources)
    calls = re.findall(rf"\.({'|'.join(CALLS)})\(", code)
    members = re.findall(r'"(Put|Update|Delete|ConditionCheck)":', code)
    needed = {CALLS[call] for call in calls} | {f"dynamodb:{member}Item" for member in members}
    needed |= {action for helper, action in HELPERS.items() if f"{helper}(" in code}
    allowed = {
        action
        for action, resource in ALLOWED[body["Role"]["Fn::GetAtt"][0]]
        if resource not in (DEAD_LETTERS, REGISTRATION_DEAD_LETTERS)
    }
    assert needed == allowed - OF_THE_EVENT_SOURCE


def test_registration_deletes_no_run() -> None:
    """What it may delete is its own claims, by their key."""
    [deletion] = [
        statement
        for statement in statements("RegisterResourcesRole")
        if "dynamodb:DeleteItem" in listed(statement["Action"])
    ]
    assert deletion["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["registration#*"]}
    }


@pytest.mark.parametrize("function", resources("AWS::Serverless::Function"))
def test_function_writes_into_its_own_log_alone(function: str) -> None:
    """No function can write into another one's log, nor make one."""
    body = properties("AWS::Serverless::Function", function)
    [logs] = [
        statement
        for statement in statements(body["Role"]["Fn::GetAtt"][0])
        if statement["Sid"] == "Logs"
    ]
    assert logs["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert logs["Resource"] == {"Fn::GetAtt": [body["LoggingConfig"]["LogGroup"]["Ref"], "Arn"]}


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
