"""The stand-in for IAM: only calls that the template's role names are allowed."""

import json
from typing import Any

import pytest

from stand_ins.role import refused

RUN = {"project": {"S": "apollo"}, "id": {"S": "1"}}
RECORD = {"scope": {"S": "audit#apollo#run#1"}, "entry": {"S": "1"}}
ROLES = {"scope": {"S": "project#apollo"}, "entry": {"S": "roles#x"}}


def put(table: str, item: Any) -> dict[str, Any]:
    """The parameters of a `PutItem`."""
    return {"TableName": table, "Item": item}


def with_key(table: str, key: Any) -> dict[str, Any]:
    """The parameters of a call with the key of a row."""
    return {"TableName": table, "Key": key}


ALLOWED: list[tuple[str, dict[str, Any]]] = [
    ("GetItem", with_key("RunsTable", RUN)),
    ("Query", {"TableName": "AccessTable", "IndexName": "by-person"}),
    ("BatchGetItem", {"RequestItems": {"AccessTable": {}}}),
    ("UpdateItem", with_key("AccessTable", ROLES)),
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
    ("UpdateItem", with_key("RunnersTable", {"project": {"S": "a"}, "runner": {"S": "b"}})),
    ("UpdateItem", with_key("AccessTable", RECORD)),
    ("DeleteItem", with_key("AccessTable", RECORD)),
    (
        "TransactWriteItems",
        {
            "TransactItems": [
                {"Put": put("RunsTable", RUN)},
                {"Delete": with_key("AccessTable", RECORD)},
            ]
        },
    ),
]


@pytest.mark.parametrize(("operation", "document"), ALLOWED)
def test_call_that_the_role_names_is_allowed(operation: str, document: dict[str, Any]) -> None:
    """The role allows the calls that RunsFunction makes."""
    assert refused(operation, json.dumps(document).encode()) == []


@pytest.mark.parametrize(("operation", "document"), REFUSED)
def test_call_that_the_role_does_not_name_is_refused(
    operation: str, document: dict[str, Any]
) -> None:
    """The role refuses another action, table or index, and every change of an audit record."""
    assert refused(operation, json.dumps(document).encode())
