"""The commands of the runbook that export a table, with the parameters that AWS knows."""

import re
import shlex
from typing import Any

import boto3
from moto import mock_aws

from tests.docs.documents import section
from tests.runs.table_server import TABLE, table_definition

BUCKET = "exports-of-byline"


def _commands() -> dict[str, dict[str, str]]:
    """The options of each AWS command, by service and operation, with the names of the API."""
    blocks = re.findall(r"```sh\n(.*?)```", section("docs/runbook.md", "### Export to S3"), re.S)
    found = {}
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        program, service, operation, *options = shlex.split(line)
        assert program == "aws"
        pairs = zip(options[::2], options[1::2], strict=True)
        found[f"{service} {operation}"] = {_api_name(name): value for name, value in pairs}
    return found


def _api_name(option: str) -> str:
    return "".join(word.capitalize() for word in option.removeprefix("--").split("-"))


@mock_aws
def test_commands_export_a_table_to_the_bucket() -> None:
    """The calls that the commands make are accepted, and the export is in the list."""
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
    client: Any = boto3.client("dynamodb", region_name="us-east-1")
    arn = client.create_table(**table_definition(TABLE))["TableDescription"]["TableArn"]
    client.update_continuous_backups(
        TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    values = {"$RUNS_TABLE_ARN": arn, "$EXPORT_BUCKET": BUCKET}
    commands = {
        command: {name: values.get(value, value) for name, value in options.items()}
        for command, options in _commands().items()
    }
    assert commands.keys() == {
        "iam attach-role-policy",
        "dynamodb export-table-to-point-in-time",
        "dynamodb list-exports",
    }
    started = client.export_table_to_point_in_time(
        **commands["dynamodb export-table-to-point-in-time"]
    )["ExportDescription"]
    assert (started["S3Bucket"], started["ExportFormat"]) == (BUCKET, "DYNAMODB_JSON")
    listed = client.list_exports(**commands["dynamodb list-exports"])["ExportSummaries"]
    assert [each["ExportArn"] for each in listed] == [started["ExportArn"]]
    attached = commands["iam attach-role-policy"]
    assert attached == {"RoleName": "$EXPORT_ROLE", "PolicyArn": "$EXPORT_POLICY"}
