"""What the table promises: it is backed up, encrypted, and outlives mistakes."""

from tests.runs.table_server import TABLE_DEFINITION
from tests.template.stack import properties, resources

TABLE = "AWS::DynamoDB::Table"


def test_table_can_be_restored_to_any_second() -> None:
    """Point-in-time recovery is on."""
    for table in resources(TABLE).values():
        recovery = table["Properties"]["PointInTimeRecoverySpecification"]
        assert recovery == {"PointInTimeRecoveryEnabled": True}


def test_table_is_encrypted_with_a_key_of_the_account() -> None:
    """Encryption is asked for, not left to a default that no audit sees."""
    for table in resources(TABLE).values():
        assert table["Properties"]["SSESpecification"] == {"SSEEnabled": True}


def test_table_outlives_the_stack() -> None:
    """Neither deleting the stack nor a change that replaces the table deletes what ran."""
    for table in resources(TABLE).values():
        assert table["DeletionPolicy"] == "RetainExceptOnCreate"
        assert table["UpdateReplacePolicy"] == "Retain"
        assert table["Properties"]["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}


def test_idle_table_costs_no_capacity() -> None:
    """Capacity is paid by request."""
    for table in resources(TABLE).values():
        assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"


def test_runs_table_has_the_keys_that_the_code_is_tested_on() -> None:
    """Keys and index are those of the table in the function's own tests."""
    body = properties(TABLE, "RunsTable")
    for name in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode"):
        assert body[name] == TABLE_DEFINITION[name]


def test_runs_table_forgets_idempotency_records() -> None:
    """Rows with `expires_at` go by themselves."""
    assert properties(TABLE, "RunsTable")["TimeToLiveSpecification"] == {
        "AttributeName": "expires_at",
        "Enabled": True,
    }
