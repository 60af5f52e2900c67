"""Exports of tables to S3: what an operator's policy allows, and that no function has it."""

from tests.template.stack import (
    PERMISSIONS,
    Json,
    evaluate,
    listed,
    resources,
    statements,
    template,
)

TABLES = [{"Fn::GetAtt": [name, "Arn"]} for name in ("RunsTable", "AccessTable")]


def _policy() -> Json:
    return resources("AWS::IAM::ManagedPolicy")["ExportPolicy"]


def test_policy_allows_exports_of_two_tables_into_one_bucket() -> None:
    """An operator with it can read no table by other means, and write nothing else."""
    allowed = {
        (action, str(resource))
        for statement in _policy()["Properties"]["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    bucket = {"Fn::Sub": "arn:${AWS::Partition}:s3:::${ExportBucket}/*"}
    exports = [{"Fn::Sub": f"${{{name}.Arn}}/export/*"} for name in ("RunsTable", "AccessTable")]
    assert allowed == {
        *(("dynamodb:ExportTableToPointInTime", str(table)) for table in TABLES),
        *(("dynamodb:ListExports", str(table)) for table in TABLES),
        *(("dynamodb:DescribeExport", str(export)) for export in exports),
        ("s3:PutObject", str(bucket)),
        ("s3:PutObjectAcl", str(bucket)),
        ("s3:AbortMultipartUpload", str(bucket)),
    }


def test_policy_exists_only_with_a_bucket_and_is_attached_to_nothing() -> None:
    """By default nobody may export; the operator attaches the policy to a role of theirs."""
    assert _policy()["Condition"] == "Exports"
    assert not {"Roles", "Users", "Groups"} & _policy()["Properties"].keys()
    condition = template(PERMISSIONS)["Conditions"]["Exports"]
    default = template()["Parameters"]["ExportBucket"]["Default"]
    assert evaluate(condition, {"ExportBucket": default}) is False
    assert evaluate(condition, {"ExportBucket": "exports"}) is True


def test_no_function_may_export() -> None:
    """The functions' own roles have neither exports nor S3."""
    actions = {action for statement in statements() for action in listed(statement["Action"])}
    assert actions
    assert not [action for action in actions if "Export" in action or action.startswith("s3:")]


def test_tables_that_are_exported_have_point_in_time_recovery() -> None:
    """DynamoDB exports from the backup, so without it an export is refused."""
    for name in ("RunsTable", "AccessTable"):
        body = resources("AWS::DynamoDB::Table")[name]["Properties"]
        recovery = body["PointInTimeRecoverySpecification"]
        assert recovery == {"PointInTimeRecoveryEnabled": True}
