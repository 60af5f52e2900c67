"""Settings that an organisation's rules demand: each is empty by default, and complete when set."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.template.deployment import REGION, Deployment, resource_schema
from tests.template.stack import NESTED, Json, listed, resources, template, translate
from tests.template.test_parameters import BEARERS, BROWSERS, OWN

ROLE, POLICY = "AWS::IAM::Role", "AWS::IAM::ManagedPolicy"
FUNCTION = "AWS::Lambda::Function"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0f6b4bbe-1234-11f0-8f6a-0a1b2c3d4e5f"
BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"
SETTINGS = {
    "PermissionsBoundaryArn": BOUNDARY,
    "RolePath": "/byline/",
    "KmsKeyArn": KEY,
    "FunctionSubnetIds": "subnet-0a1b2c3d,subnet-4e5f6a7b",
    "FunctionSecurityGroupIds": "sg-0a1b2c3d",
    "ReservedConcurrency": "50",
    "Architecture": "arm64",
    "SevereAlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:severe",
    "ExportBucket": "exports",
}

EVERYTHING = {**OWN, **BROWSERS, **BEARERS, "AuthorizationServiceUrl": "https://authz.example.com"}

NETWORK_ACTIONS = {
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
}
"""Those of the policy AWSLambdaVPCAccessExecutionRole of AWS, without its log groups."""

SERVICES_OF: dict[str, set[str]] = {
    "RunsRole": {"dynamodb", "sqs", "secretsmanager"},
    "PlanRefreshRole": {"dynamodb", "sqs"},
    "RefreshTokensRole": {"dynamodb", "sqs", "secretsmanager"},
    "RegisterResourcesRole": {"dynamodb", "sqs"},
    "TickRole": {"sqs"},
    "RegistrationPassRole": {"sqs"},
    "ServeConsoleRole": set(),
}
"""The services through which a role reads or writes something that KmsKeyArn encrypts."""

WITHOUT_TAGS = {
    "AWS::AppConfig::HostedConfigurationVersion",
    "AWS::IAM::ManagedPolicy",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::LayerVersion",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::Scheduler::Schedule",
}
"""Resource types that CloudFormation cannot tag. None of them is billed by itself."""


@cache
def _deployment(*settings: str) -> Deployment:
    return Deployment({**EVERYTHING, **{name: SETTINGS[name] for name in settings}})


def test_setting_is_empty_by_default() -> None:
    """Without a value each setting changes nothing. The architecture has one by nature."""
    parameters = template()["Parameters"]
    assert {parameters[name]["Default"] for name in SETTINGS} == {"", "x86_64"}


@pytest.mark.parametrize("setting", SETTINGS)
def test_value_of_a_setting_is_accepted(setting: str) -> None:
    """The samples of this module are values that CloudFormation accepts."""
    body = template()["Parameters"][setting]
    assert re.fullmatch(body.get("AllowedPattern", ".*"), SETTINGS[setting])


def test_every_role_has_the_boundary_and_the_path() -> None:
    """No role is created outside the boundary and the path, also none that SAM adds."""
    deployment = _deployment("PermissionsBoundaryArn", "RolePath")
    roles = deployment.resources(ROLE)
    assert set(roles) == set(SERVICES_OF)
    for role in roles:
        properties = deployment.properties(role)
        assert (properties["PermissionsBoundary"], properties["Path"]) == (BOUNDARY, "/byline/")
    for role in roles:
        assert not {"PermissionsBoundary", "Path"} & _deployment().properties(role).keys()


def test_every_policy_has_the_path() -> None:
    """A deploying role that may create policies under one path only can create these."""
    deployment = _deployment("RolePath", "KmsKeyArn", "FunctionSubnetIds", "ExportBucket")
    assert len(deployment.resources(POLICY)) == 5
    for policy in deployment.resources(POLICY):
        assert deployment.properties(policy)["Path"] == "/byline/"
    assert _deployment().resources(POLICY) == []


def test_every_store_is_encrypted_with_the_customers_key() -> None:
    """With KmsKeyArn all tables, queues and log groups have that key."""
    deployment = _deployment("KmsKeyArn")
    keys: dict[str, Callable[[Json], str]] = {
        "AWS::DynamoDB::Table": lambda body: body["SSESpecification"]["KMSMasterKeyId"],
        "AWS::SQS::Queue": lambda body: body["KmsMasterKeyId"],
        "AWS::Logs::LogGroup": lambda body: body["KmsKeyId"],
    }
    for kind, key_of in keys.items():
        names = deployment.resources(kind)
        assert names
        assert {key_of(deployment.properties(name)) for name in names} == {KEY}
    for queue in deployment.resources("AWS::SQS::Queue"):
        assert "SqsManagedSseEnabled" not in deployment.properties(queue)


def test_functions_that_create_secrets_know_the_customers_key() -> None:
    """Each function whose role may create secrets gets the key for them."""
    deployment = _deployment("KmsKeyArn")
    for function in deployment.resources(FUNCTION):
        role = f"{function.removesuffix('Function')}Role"
        creates = any(
            "secretsmanager:CreateSecret" in listed(statement["Action"])
            for statement in _statements(deployment, role)
        )
        variables = deployment.properties(function).get("Environment", {}).get("Variables", {})
        assert variables.get("SECRETS_KMS_KEY") == (KEY if creates else None)


def test_without_a_customers_key_aws_manages_the_keys() -> None:
    """By default tables have the key aws/dynamodb and queues a key of SQS; roles need no key."""
    deployment = _deployment()
    for table in deployment.resources("AWS::DynamoDB::Table"):
        assert deployment.properties(table)["SSESpecification"] == {"SSEEnabled": True}
    for queue in deployment.resources("AWS::SQS::Queue"):
        properties = deployment.properties(queue)
        assert (properties["SqsManagedSseEnabled"], "KmsMasterKeyId" in properties) == (True, False)
    for role in deployment.resources(ROLE):
        assert [one for one in _statements(deployment, role) if one["Resource"] == KEY] == []


@pytest.mark.parametrize("role", SERVICES_OF)
def test_role_uses_the_key_through_its_services_only(role: str) -> None:
    """A role decrypts what it reads, and makes data keys only for queues and secrets."""
    found = {}
    for statement in _statements(_deployment("KmsKeyArn"), role):
        if statement["Resource"] == KEY:
            service = statement["Condition"]["StringLike"]["kms:ViaService"].split(".")[0]
            found[service] = set(listed(statement["Action"]))
            assert statement["Effect"] == "Allow"
    expected = {service: {"kms:Decrypt", "kms:GenerateDataKey"} for service in SERVICES_OF[role]}
    if "dynamodb" in expected:
        expected["dynamodb"] = {"kms:Decrypt"}
    assert found == expected


def test_services_of_a_role_follow_from_what_it_may_do() -> None:
    """The table of this module agrees with the actions that each role has."""
    deployment = _deployment("KmsKeyArn")
    for role, services in SERVICES_OF.items():
        actions = {
            action.split(":")[0]
            for statement in _statements(deployment, role)
            if statement["Effect"] == "Allow"
            for action in listed(statement["Action"])
        }
        assert actions & {"dynamodb", "sqs", "secretsmanager"} == services


def test_client_secret_may_have_any_key_of_the_account() -> None:
    """RefreshTokensRole decrypts client secrets, by Secrets Manager and nothing else."""
    deployment = _deployment()
    used = {
        role: statement
        for role in deployment.resources(ROLE)
        for statement in _statements(deployment, role)
        if "kms:Decrypt" in listed(statement["Action"])
    }
    assert used.keys() == {"RefreshTokensRole"}
    condition = used["RefreshTokensRole"]["Condition"]["StringLike"]
    clients = next(
        statement["Resource"]
        for statement in _statements(deployment, "RefreshTokensRole")
        if statement.get("Sid") == "Clients"
    )
    assert condition["kms:EncryptionContext:SecretARN"] == clients
    assert condition["kms:ViaService"] == f"secretsmanager.{REGION}.amazonaws.com*"


def test_functions_are_in_the_subnets_and_may_create_network_interfaces() -> None:
    """Each function has the network's settings, and its role what Lambda needs for them.

    The function of the console calls nothing, so it needs no network.
    """
    deployment = _deployment("FunctionSubnetIds", "FunctionSecurityGroupIds")
    for function in {*deployment.resources(FUNCTION)} - {"ServeConsoleFunction"}:
        assert deployment.properties(function)["VpcConfig"] == {
            "SubnetIds": ["subnet-0a1b2c3d", "subnet-4e5f6a7b"],
            "SecurityGroupIds": ["sg-0a1b2c3d"],
        }
        allowed, denied = (
            {
                action
                for statement in _statements(deployment, f"{function.removesuffix('Function')}Role")
                if statement["Effect"] == effect
                for action in listed(statement["Action"])
                if action.startswith("ec2:")
            }
            for effect in ("Allow", "Deny")
        )
        assert (allowed, denied) == (NETWORK_ACTIONS, {"ec2:*"})
    for function in _deployment().resources(FUNCTION):
        assert "VpcConfig" not in _deployment().properties(function)
    for role in _deployment().resources(ROLE):
        assert "ec2:" not in str(_statements(_deployment(), role))


def test_code_of_a_function_cannot_use_the_permissions_of_its_network() -> None:
    """The deny holds for each request that a function's own code signs."""
    [deny] = [
        statement
        for statement in _statements(_deployment("FunctionSubnetIds"), "RunsRole")
        if statement["Action"] == "ec2:*"
    ]
    assert deny["Condition"] == {"Null": {"lambda:SourceFunctionArn": "false"}}


def test_concurrency_is_reserved_for_runs_function_only_where_asked() -> None:
    """By default no function reserves concurrency: an account of ten executions can deploy."""
    reserved = {
        setting: {
            function: deployment.properties(function)["ReservedConcurrentExecutions"]
            for function in deployment.resources(FUNCTION)
            if "ReservedConcurrentExecutions" in deployment.properties(function)
        }
        for setting in ((), ("ReservedConcurrency",))
        for deployment in [_deployment(*setting)]
    }
    assert reserved == {(): {}, ("ReservedConcurrency",): {"RunsFunction": "50"}}
    assert "ProvisionedConcurrencyConfig" not in str(translate(template()))


def test_event_sources_fit_an_account_of_ten_executions() -> None:
    """Requests keep half of ten concurrent executions beside all triggers."""
    deployment = _deployment()
    at_once = len(deployment.resources("AWS::Scheduler::Schedule"))
    for source in deployment.resources("AWS::Lambda::EventSourceMapping"):
        properties = deployment.properties(source)
        at_once += properties.get("ScalingConfig", {}).get("MaximumConcurrency", 1)
    assert at_once <= 5


def test_functions_and_layer_have_the_architecture() -> None:
    """Functions and layer change together."""
    deployment = _deployment("Architecture")
    for function in deployment.resources(FUNCTION):
        assert deployment.properties(function)["Architectures"] == ["arm64"]
    [layer] = deployment.resources("AWS::Lambda::LayerVersion")
    assert deployment.properties(layer)["CompatibleArchitectures"] == ["arm64"]


def test_stack_tags_reach_every_resource_that_can_have_tags() -> None:
    """CloudFormation passes the tags of `sam deploy --tags` on, also to the nested stack."""
    kinds = {
        body["Type"]
        for name in ("template.yaml", *NESTED.values())
        for body in translate(template(name))["Resources"].values()
    }
    kinds.remove("AWS::CloudFormation::Stack")
    without = {kind for kind in kinds if not _is_tagged(kind)}
    assert without == WITHOUT_TAGS


def test_severe_alarms_notify_both_topics() -> None:
    """A severe alarm notifies the second topic too; every other alarm only the first."""
    for name, body in resources("AWS::CloudWatch::Alarm").items():
        for actions in ("AlarmActions", "OKActions"):
            topics = str(body["Properties"][actions])
            assert "{'Ref': 'AlarmTopicArn'}" in topics, name
    assert _severe_alarms() == {
        "ErrorsAlarm",
        "ThrottlesAlarm",
        "TicksMissingAlarm",
        "LeastRemainingLifeAlarm",
        "TokensExpiredAlarm",
    }


def _severe_alarms() -> set[str]:
    return {
        name
        for name, body in resources("AWS::CloudWatch::Alarm").items()
        if "SevereAlarmTopicArn" in str(body["Properties"]["AlarmActions"])
    }


def _statements(deployment: Deployment, role: str) -> list[Json]:
    """All statements of a role: its own, and those of its policies in the template."""
    properties = deployment.properties(role)
    documents = [policy["PolicyDocument"] for policy in properties["Policies"]]
    policies = {deployment.physical_id(name): name for name in deployment.resources(POLICY)}
    documents += [
        deployment.properties(policies[attached])["PolicyDocument"]
        for attached in properties.get("ManagedPolicyArns", [])
    ]
    return [statement for document in documents for statement in document["Statement"]]


def _is_tagged(kind: str) -> bool:
    tagging: Any = resource_schema(kind).get("tagging")
    return bool(tagging and tagging.get("taggable"))
