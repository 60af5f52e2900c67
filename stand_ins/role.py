"""Decides as IAM does whether a function's role in the template allows a call to DynamoDB.

A decision depends on the action, on the table or index, and on the partition key if a statement
names partitions. A transaction is allowed if all its members are.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from local.aws import ROOT
from local.template import Template

RUNS_ROLE = "RunsRole"
LEADING_KEYS = "dynamodb:LeadingKeys"
CONDITIONS = ("ForAnyValue:StringLike", "ForAllValues:StringLike")


@dataclass(frozen=True, slots=True)
class Access:
    """One action on one table or index, and the partition key if the call has one, else empty."""

    action: str
    resource: str
    partition: str


def refused(operation: str, body: bytes, *, role: str = RUNS_ROLE) -> list[Access]:
    """The accesses of a call that the role does not allow. Empty if the call is allowed."""
    accesses = _accesses(operation, json.loads(body))
    return [access for access in accesses if not _is_allowed(access, role)]


def _accesses(operation: str, document: dict[str, Any]) -> Iterator[Access]:
    if operation == "TransactWriteItems":
        for action in document["TransactItems"]:
            for kind, member in action.items():
                yield from _accesses(f"{kind}Item", member)
    elif operation == "BatchGetItem":
        for table in document["RequestItems"]:
            yield Access("dynamodb:BatchGetItem", table, "")
    else:
        table = document["TableName"]
        index = f"/index/{document['IndexName']}" if "IndexName" in document else ""
        row = document.get("Key") or document.get("Item") or {}
        partition = row.get(_partition_key(table), {}).get("S", "")
        yield Access(f"dynamodb:{operation}", table + index, partition)


def _is_allowed(access: Access, role: str) -> bool:
    applying = [statement for statement in _statements(role) if _applies(statement, access)]
    effects = {statement["Effect"] for statement in applying}
    return effects == {"Allow"}


def _applies(statement: dict[str, Any], access: Access) -> bool:
    if access.action not in _listed(statement["Action"]):
        return False
    if access.resource not in {_name(resource) for resource in _listed(statement["Resource"])}:
        return False
    [(operator, keys)] = statement.get("Condition", {"": {}}).items()
    if not operator:
        return True
    # Each access has one partition key, so "any of its values" and "all of them" are the same.
    assert operator in CONDITIONS, f"unknown condition operator: {operator}"
    return any(fnmatchcase(access.partition, pattern) for pattern in keys[LEADING_KEYS])


def _name(resource: Any) -> str:
    match resource:
        case {"Fn::GetAtt": [table, "Arn"]}:
            return str(table)
        case {"Fn::Sub": str(text)}:
            return re.sub(r"^\$\{(\w+)\.Arn\}", r"\1", text)
    return ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@cache
def _statements(role: str) -> list[dict[str, Any]]:
    properties = _template().resources("AWS::IAM::Role")[role]["Properties"]
    return [
        statement
        for policy in properties["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


@cache
def _partition_key(table: str) -> str:
    keys = _template().resources("AWS::DynamoDB::Table")[table]["Properties"]["KeySchema"]
    return str(next(key["AttributeName"] for key in keys if key["KeyType"] == "HASH"))


@cache
def _template() -> Template:
    return Template.read(ROOT / "template.yaml")
