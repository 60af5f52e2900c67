"""Tables: backup, encryption, retention, keys and expiry."""

import pytest

from byline.heartbeats import HEARTBEAT_INDEX
from byline.refresh.token_rows import DUE_INDEX
from byline.registration.outbox import ENTRY_ATTRIBUTES, PENDING_INDEX
from byline.tables.rows import EXPIRES_AT
from serve_runs.audit.store import PERSON_INDEX, PROJECT_INDEX
from serve_runs.people.holdings import HOLDER_INDEX
from serve_runs.runs.queries import ACCOUNTABLE_INDEX, LIVE_INDEX, REPRESENTED_INDEX
from tests.template.deployment import Deployment
from tests.template.stack import evaluate, properties, resources, template, translate
from tests.template.test_parameters import BROWSERS, OWN

TABLE = "AWS::DynamoDB::Table"
PROTECTED = {"DeletionProtection": "true"}


def test_table_can_be_restored_to_any_second() -> None:
    """Each table has point-in-time recovery."""
    for table in resources(TABLE).values():
        recovery = table["Properties"]["PointInTimeRecoverySpecification"]
        assert recovery == {"PointInTimeRecoveryEnabled": True}


def test_table_is_encrypted_with_the_aws_managed_key() -> None:
    """Encryption is explicit in the template, not a default."""
    deployment = Deployment({})
    for table in deployment.resources(TABLE):
        assert deployment.properties(table)["SSESpecification"] == {"SSEEnabled": True}


def test_table_outlives_the_stack() -> None:
    """Deleting the stack or replacing a table retains the old table."""
    for table in resources(TABLE).values():
        assert table["DeletionPolicy"] == "RetainExceptOnCreate"
        assert table["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize(("changes", "protected"), [({}, "false"), (PROTECTED, "true")])
def test_protection_from_deletion_starts_after_the_first_deployment(
    changes: dict[str, str], protected: str
) -> None:
    """By default a failed first deployment can delete everything that it created.

    AWS refuses to delete a protected table or load balancer, also to CloudFormation's rollback.
    """
    deployment = Deployment({**OWN, **BROWSERS, **changes})
    tables = [deployment.properties(table) for table in deployment.resources(TABLE)]
    [load_balancer] = deployment.resources("AWS::ElasticLoadBalancingV2::LoadBalancer")
    attributes = deployment.properties(load_balancer)["LoadBalancerAttributes"]
    switches = [table["DeletionProtectionEnabled"] for table in tables] + [
        attribute["Value"]
        for attribute in attributes
        if attribute["Key"] == "deletion_protection.enabled"
    ]
    assert switches == [protected] * 4
    assert ("NextStep" in deployment.outputs()) is (protected == "false")


def test_nothing_but_tables_and_logs_is_retained() -> None:
    """A failed first deployment leaves no resource, and a deleted stack only data."""
    for kind in {body["Type"] for body in translate(template())["Resources"].values()}:
        for name, body in resources(kind).items():
            expected = {None, "Delete"}
            if kind in {TABLE, "AWS::Logs::LogGroup"}:
                expected = {"RetainExceptOnCreate"}
            assert body.get("DeletionPolicy") in expected, name


def test_idle_table_costs_no_capacity() -> None:
    """Each table is billed by request."""
    for table in resources(TABLE).values():
        assert table["Properties"]["BillingMode"] == "PAY_PER_REQUEST"


def test_runs_table_has_the_keys_that_the_code_writes() -> None:
    """RunsTable has the keys and indexes that the code queries."""
    body = properties(TABLE, "RunsTable")
    assert body["KeySchema"] == [
        {"AttributeName": "project", "KeyType": "HASH"},
        {"AttributeName": "id", "KeyType": "RANGE"},
    ]
    by_creator, by_unregistered, by_live, by_represented, by_accountable, by_heartbeat = body[
        "GlobalSecondaryIndexes"
    ]
    assert by_creator == {
        "IndexName": "by-creator",
        "KeySchema": [
            {"AttributeName": "creator", "KeyType": "HASH"},
            {"AttributeName": "id", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    assert by_unregistered == {
        "IndexName": PENDING_INDEX,
        "KeySchema": [
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(ENTRY_ATTRIBUTES, ("HASH", "RANGE"), strict=True)
        ],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["registration_error"]},
    }
    assert by_live == {
        "IndexName": LIVE_INDEX,
        "KeySchema": [
            {"AttributeName": "live", "KeyType": "HASH"},
            {"AttributeName": "id", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    assert by_represented == {
        "IndexName": REPRESENTED_INDEX,
        "KeySchema": [
            {"AttributeName": "person", "KeyType": "HASH"},
            {"AttributeName": "id", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    assert by_accountable == {
        "IndexName": ACCOUNTABLE_INDEX,
        "KeySchema": [
            {"AttributeName": "live_for", "KeyType": "HASH"},
            {"AttributeName": "id", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    assert by_heartbeat == {
        "IndexName": HEARTBEAT_INDEX,
        "KeySchema": [
            {"AttributeName": "heartbeat_shard", "KeyType": "HASH"},
            {"AttributeName": "heartbeat_due", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    types = {item["AttributeName"]: item["AttributeType"] for item in body["AttributeDefinitions"]}
    names = ("project", "id", "creator", "live", "person", "live_for", "heartbeat_shard")
    assert types == {**dict.fromkeys((*names, *ENTRY_ATTRIBUTES), "S"), "heartbeat_due": "N"}


def test_runs_table_expires_rows_by_expires_at() -> None:
    """DynamoDB deletes rows whose `expires_at` has passed."""
    assert properties(TABLE, "RunsTable")["TimeToLiveSpecification"] == {
        "AttributeName": "expires_at",
        "Enabled": True,
    }


def test_runners_table_has_the_keys_that_the_code_writes() -> None:
    """RunnersTable has the keys and the index that the code queries."""
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
    """AccessTable has the keys and indexes that the code queries."""
    body = properties(TABLE, "AccessTable")
    assert body["KeySchema"] == [
        {"AttributeName": "scope", "KeyType": "HASH"},
        {"AttributeName": "entry", "KeyType": "RANGE"},
    ]
    by_email, by_person, by_holder, by_project = body["GlobalSecondaryIndexes"]
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
    assert by_holder == {
        "IndexName": HOLDER_INDEX,
        "KeySchema": [
            {"AttributeName": "holder", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    assert by_project == {
        "IndexName": PROJECT_INDEX,
        "KeySchema": [
            {"AttributeName": "project", "KeyType": "HASH"},
            {"AttributeName": "entry", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    types = {item["AttributeName"]: item["AttributeType"] for item in body["AttributeDefinitions"]}
    names = ("scope", "entry", "email", "answerable", "holder", "project")
    assert types == dict.fromkeys(names, "S")


def test_access_table_expires_rows_only_with_a_retention_of_audit_records() -> None:
    """With the default, DynamoDB deletes nothing there, whatever a row says."""
    assert properties(TABLE, "AccessTable")["TimeToLiveSpecification"] == {
        "AttributeName": EXPIRES_AT,
        "Enabled": {"Fn::If": ["AuditExpires", True, False]},
    }
    condition = template()["Conditions"]["AuditExpires"]
    assert template()["Parameters"]["AuditRetentionDays"]["Default"] == 0
    assert evaluate(condition, {"AuditRetentionDays": "0"}) is False
    assert evaluate(condition, {"AuditRetentionDays": "365"}) is True


def test_runs_and_audit_records_are_kept_for_ever_by_default() -> None:
    """Deleting them is an operator's choice."""
    parameters = template()["Parameters"]
    defaults = {name: body["Default"] for name, body in parameters.items() if "Retention" in name}
    del defaults["LogRetentionDays"]
    assert defaults == {
        "RunRetentionDays": 0,
        "MessageRetentionDays": 90,
        "AuditRetentionDays": 0,
    }


def test_runners_table_expires_rows_by_ttl() -> None:
    """DynamoDB deletes rows whose `ttl` has passed: retired tokens and leases."""
    assert properties(TABLE, "RunnersTable")["TimeToLiveSpecification"] == {
        "AttributeName": "ttl",
        "Enabled": True,
    }
