"""IAM's stand-in: a call is allowed by what the template's role says, and by nothing else."""

import json
from typing import Any

import pytest

from stand_ins.role import refused

RUN = {"project": {"S": "apollo"}, "id": {"S": "1"}}
RECORD = {"scope": {"S": "audit#apollo#run#1"}, "entry": {"S": "1"}}
ROLES = {"scope": {"S": "project#apollo"}, "entry": {"S": "roles#x"}}


def put(table: str, item: Any) -> dict[str, Any]:
    return {"TableName": table, "Item": item}


def update(table: str, key: Any) -> dict[str, Any]:
    return {"TableName": table, "Key": key}


ALLOWED: list[tuple[str, dict[str, Any]]] = [
    ("GetItem", update("RunsTable", RUN)),
    ("Query", {"TableName": "AccessTable", "IndexName": "by-person"}),
    ("BatchGetItem", {"RequestItems": {"AccessTable": {}}}),
    ("UpdateItem", update("AccessTable", ROLES)),
    (
        "TransactWriteItems",
        {"TransactItems": [{"Put": put("RunsTable", RUN)}, {"Put": put("AccessTable", RECORD)}]},
    ),
]

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("Scan", {"TableName": "RunsTable"}),
    ("BatchGetItem", {"RequestItems": {"RunsTable": {}, "AnotherTable": {}}}),
    ("Query", {"TableName": "RunsTable", "IndexName": "by-person"}),
    ("BatchGetItem", {"RequestItems": {"AccessTable": {}, "RunnersTable": {}}}),
    ("UpdateItem", update("RunnersTable", {"project": {"S": "a"}, "runner": {"S": "b"}})),
    ("UpdateItem", update("AccessTable", RECORD)),
    ("DeleteItem", update("AccessTable", RECORD)),
    (
        "TransactWriteItems",
        {
            "TransactItems": [
                {"Put": put("RunsTable", RUN)},
                {"Delete": update("AccessTable", RECORD)},
            ]
        },
    ),
]


@pytest.mark.parametrize(("operation", "document"), ALLOWED)
def test_call_of_the_function_is_allowed(operation: str, document: dict[str, Any]) -> None:
    """What it does all day."""
    assert refused(operation, json.dumps(document).encode()) == []


@pytest.mark.parametrize(("operation", "document"), REFUSED)
def test_call_beside_what_the_role_says_is_refused(
    operation: str, document: dict[str, Any]
) -> None:
    """Another action, table or index; and a record of the audit trail is never changed."""
    assert refused(operation, json.dumps(document).encode())
