"""The template in the local stack: its data resources, and its functions with all settings."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from local.load_balancer import OPEN_PATHS, PATHS
from local.openid_client import SCOPE
from local.template import Template

ROOT = Path(__file__).parents[2]

SMALL = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Memory: { Type: Number, Default: 256 }
  Issuer: { Type: String, AllowedPattern: "^https://.*$" }
Globals:
  Function:
    Timeout: 7
    Layers: [!Ref Layer]
Conditions:
  Never: !Equals [!Ref Issuer, ""]
Resources:
  Layer:
    Type: AWS::Serverless::LayerVersion
    Properties: { ContentUri: layers/one }
  OwnLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: { ContentUri: layers/two }
  WorkFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/work
      Handler: work.handler
      Runtime: python3.13
      MemorySize: !Ref Memory
      Layers: [!Ref OwnLayer]
      Environment:
        Variables:
          TABLE: !Ref WorkTable
          QUEUE: !GetAtt WorkQueue.QueueName
          GROUP: !Sub "work-${AWS::Region}"
          NUMBER: 3
          CHOSEN: !If [Never, !Ref Bucket, !Ref Issuer]
          NOTHING: !Ref AWS::NoValue
  WorkTable:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
  WorkQueue:
    Type: AWS::SQS::Queue
    Properties: { FifoQueue: true }
  Bucket:
    Type: AWS::S3::Bucket
"""


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS by moto."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


def test_deployed_function_has_its_settings_resolved(tmp_path: Path) -> None:
    """A function has its code, layers, limits and variables as CloudFormation resolves them."""
    (tmp_path / "template.yaml").write_text(SMALL)
    functions = Template.read(tmp_path / "template.yaml").deploy(
        boto3.client("cloudformation"), parameters={"Issuer": "http://127.0.0.1:8081"}
    )
    work = functions["WorkFunction"]
    layers = (tmp_path / "layers/one", tmp_path / "layers/two")
    assert work.code == (tmp_path / "functions/work", *layers)
    assert (work.name, work.handler) == ("WorkFunction", "work.handler")
    assert (work.memory_mb, work.timeout_seconds) == (256, 7)
    assert work.environment == {
        "TABLE": "WorkTable",
        "QUEUE": "WorkQueue.fifo",
        "GROUP": "work-us-east-1",
        "NUMBER": "3",
        "CHOSEN": "http://127.0.0.1:8081",
    }


def test_only_data_resources_are_created_by_their_logical_ids(
    tmp_path: Path,
) -> None:
    """Tables and queues have the names that `sam local invoke` uses. Others are not created."""
    (tmp_path / "template.yaml").write_text(SMALL)
    Template.read(tmp_path / "template.yaml").deploy(
        boto3.client("cloudformation"), parameters={"Issuer": "https://issuer.example.com"}
    )
    assert boto3.client("dynamodb").list_tables()["TableNames"] == ["WorkTable"]
    [queue] = boto3.client("sqs").list_queues()["QueueUrls"]
    assert queue.endswith("/WorkQueue.fifo")
    assert boto3.client("s3").list_buckets()["Buckets"] == []


def test_our_template_gives_three_functions_one_queue_and_table() -> None:
    """The planner and the refresher have the same table and queue, with the queue's limits."""
    functions = Template.read(ROOT / "template.yaml").deploy(
        boto3.client("cloudformation"), parameters={}
    )
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="RefreshQueue")["QueueUrl"]
    for name in ("RunsFunction", "PlanRefreshFunction", "RefreshTokensFunction"):
        environment = functions[name].environment
        assert (environment["RUNNERS_TABLE"], environment["REFRESH_QUEUE_URL"]) == (
            "RunnersTable",
            url,
        )
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "360"
    assert "RefreshDeadLetters" in attributes["RedrivePolicy"]
    assert functions["RefreshTokensFunction"].environment["WRITES_PER_SECOND"] == "20"


def test_our_template_gives_the_runs_table_and_its_function() -> None:
    """The local table has the template's keys and indexes, and the function its variables."""
    functions = Template.read(ROOT / "template.yaml").deploy(
        boto3.client("cloudformation"), parameters={}
    )
    table = boto3.client("dynamodb").describe_table(TableName="RunsTable")["Table"]
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["project", "id"]
    indexes = [index["IndexName"] for index in table["GlobalSecondaryIndexes"]]
    assert indexes == [
        "by-creator",
        "by-unregistered",
        "by-live",
        "by-represented",
        "by-accountable",
        "by-heartbeat",
    ]
    environment = functions["RunsFunction"].environment
    assert environment["RUNS_TABLE"] == "RunsTable"
    groups = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/byline"
    assert environment["BROWSER_TARGET_GROUP"].startswith(f"{groups}-browser-")
    assert environment["BEARER_TARGET_GROUP"].startswith(f"{groups}-bearer-")


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8090"])
def test_our_template_registers_only_with_a_service_address(url: str) -> None:
    """The function, the queue and the stream exist only with a service's address."""
    functions = Template.read(ROOT / "template.yaml").deploy(
        boto3.client("cloudformation"), parameters={"AuthorizationServiceUrl": url}
    )
    assert functions["RunsFunction"].environment["AUTHORIZATION_SERVICE_URL"] == url
    is_on = url != ""
    assert ("RegisterResourcesFunction" in functions) == is_on
    if is_on:
        environment = functions["RegisterResourcesFunction"].environment
        assert environment["AUTHORIZATION_SERVICE_URL"] == url
        assert environment["RUNS_TABLE"] == "RunsTable"
    queues = boto3.client("sqs").list_queues()["QueueUrls"]
    assert any("RegistrationDeadLetters" in queue for queue in queues) == is_on
    table = boto3.client("dynamodb").describe_table(TableName="RunsTable")["Table"]
    assert table.get("StreamSpecification", {}).get("StreamEnabled", False) == is_on


def test_local_load_balancer_has_the_rules_of_the_template() -> None:
    """The local load balancer has the paths and scopes of the template's rules."""
    template = Template.read(ROOT / "template.yaml")
    rules = template.resources("AWS::ElasticLoadBalancingV2::ListenerRule")
    assert set(rules) == {"BearerRule", "BrowserRule", "SessionRule", "LogoutRule"}
    for name, rule in rules.items():
        [paths] = [
            condition["PathPatternConfig"]["Values"]
            for condition in rule["Properties"]["Conditions"]
            if condition.get("Field") == "path-pattern"
        ]
        assert tuple(paths) == (tuple(OPEN_PATHS) if name == "LogoutRule" else PATHS)
    assert template.translated["Parameters"]["OidcScope"]["Default"] == SCOPE
