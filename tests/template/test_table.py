"""What the tables promise: they are backed up, encrypted, and outlive mistakes."""

from byline.refresh.runner_rows import DUE_INDEX
from byline.registration.outbox import MARK, UNREGISTERED_INDEX
from serve_runs.audit.listing import PERSON_INDEX
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


def test_runs_table_has_the_keys_that_the_code_writes() -> None:
    """A run is found by project and id, a person's runs by their creator."""
    body = properties(TABLE, "RunsTable")
    assert body["KeySchema"] == [
        {"AttributeName": "project", "KeyType": "HASH"},
        {"AttributeName": "id", "KeyType": "RANGE"},
    ]
    by_creator, by_unregistered = body["GlobalSecondaryIndexes"]
    assert by_creator == {
        "IndexName": "by-creator",
        "KeySchema": [
            {"AttributeName": "creator", "KeyType": "HASH"},
            {"AttributeName": "id", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    assert by_unregistered == {
        "IndexName": UNREGISTERED_INDEX,
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(MARK, ("HASH", "RANGE"), strict=True)
        ],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["registration_error"]},
    }
    types = {item["AttributeName"]: item["AttributeType"] for item in body["AttributeDefinitions"]}
    assert types == dict.fromkeys(("project", "id", "creator", *MARK), "S")


def test_runs_table_forgets_idempotency_records() -> None:
    """Rows with `expires_at` go by themselves."""
    assert properties(TABLE, "RunsTable")["TimeToLiveSpecification"] == {
        "AttributeName": "expires_at",
        "Enabled": True,
    }


def test_runners_table_has_the_keys_that_the_code_writes() -> None:
    """A row is found by project and runner, due work by shard and time."""
    body = properties(TABLE, "RunnersTable")
    assert body["KeySchema"] == [
        {"AttributeName": "project", "KeyType": "HASH"},
        {"AttributeName": "runner", "KeyType": "RANGE"},
    ]
    [index] = body["GlobalSecondaryIndexes"]
    assert index == {
        "IndexName": DUE_INDEX,
        "KeySchema": [
            {"AttributeName": "shard", "KeyType": "HASH"},
            {"AttributeName": "due_at", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    types = {item["AttributeName"]: item["AttributeType"] for item in body["AttributeDefinitions"]}
    assert types == {"project": "S", "runner": "S", "shard": "S", "due_at": "N"}


def test_access_table_has_the_keys_that_the_code_writes() -> None:
    """A row is found by scope and entry, a profile by e-mail, a record by who answers for it."""
    body = properties(TABLE, "AccessTable")
    assert body["KeySchema"] == [
        {"AttributeName": "scope", "KeyType": "HASH"},
        {"AttributeName": "entry", "KeyType": "RANGE"},
    ]
    by_email, by_person = body["GlobalSecondaryIndexes"]
    assert by_email == {
        "IndexName": "by-email",
        "KeySchema": [
            {"AttributeName": "email", "KeyType": "HASH"},
            {"AttributeName": "scope", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    assert by_person == {
        "IndexName": PERSON_INDEX,
        "KeySchema": [
            {"AttributeName": "answerable", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    types = {item["AttributeName"]: item["AttributeType"] for item in body["AttributeDefinitions"]}
    assert types == {"scope": "S", "entry": "S", "email": "S", "answerable": "S"}


def test_access_table_forgets_nothing() -> None:
    """Neither a role nor a record of what was done goes by itself."""
    assert "TimeToLiveSpecification" not in properties(TABLE, "AccessTable")


def test_runners_table_forgets_deleted_runners_and_leases() -> None:
    """Rows with `ttl` go by themselves."""
    assert properties(TABLE, "RunnersTable")["TimeToLiveSpecification"] == {
        "AttributeName": "ttl",
        "Enabled": True,
    }
