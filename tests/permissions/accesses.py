"""What IAM decides about a call of an AWS client: its actions, their resources and condition keys.

A transaction is decided by its members, and a batch by its rows.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

type Json = Mapping[str, Any]

TABLE = "AWS::DynamoDB::Table"
SELECT, RETURN_VALUES = "dynamodb:Select", "dynamodb:ReturnValues"
FORCED_DELETION = "secretsmanager:ForceDeleteWithoutRecovery"
LIFETIME = "sts:DurationSeconds"
WORDS = {"SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "BETWEEN", "IN"}
"""The words of DynamoDB's expressions that are not names of attributes."""


@dataclass(frozen=True, slots=True)
class Access:
    """One action of one function, as far as IAM looks at it.

    `function`: its package. `resource`: a table, an index (`table/index/name`), a queue, or the
    folder of a secret (`tokens/*`), without the stack's own prefix. `keys`: the partition keys,
    each with everything after its prefix as `*`. `conditions`: condition keys with one value.
    `attributes`: the names in the request. Those of a put or a deletion are left out, since they
    change the whole row.
    """

    function: str
    action: str
    resource: str
    keys: tuple[str, ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()
    attributes: frozenset[str] = frozenset()


def accesses(function: str, service: str, operation: str, call: Json) -> Iterator[Access]:
    """Everything that IAM must allow for this call."""
    match service:
        case "dynamodb":
            yield from _of_dynamodb(function, operation, call)
        case "sqs":
            # The permission to send one message covers a batch.
            action = operation.removesuffix("Batch")
            yield Access(
                function, f"sqs:{action}", _logical_id(call["QueueUrl"].rpartition("/")[2])
            )
        case "secretsmanager":
            name = call.get("SecretId") or call["Name"]
            folder = name.split("/")[1]
            conditions: tuple[tuple[str, str], ...] = ()
            if operation == "DeleteSecret":
                forced = call.get("ForceDeleteWithoutRecovery", False)
                conditions = ((FORCED_DELETION, str(forced).lower()),)
            yield Access(function, f"{service}:{operation}", f"{folder}/*", (), conditions)
            if call.get("Tags"):
                yield Access(function, f"{service}:TagResource", f"{folder}/*")
        case "sts":
            # The audience differs from client to client. Which ones are allowed is a parameter.
            lifetime = (LIFETIME, str(call["DurationSeconds"]))
            yield Access(function, f"{service}:{operation}", "", (), (lifetime,))
        case _:
            yield Access(function, f"{service}:{operation}", "")


def _of_dynamodb(function: str, operation: str, call: Json) -> Iterator[Access]:
    match operation:
        case "TransactWriteItems":
            for member in call["TransactItems"]:
                [(kind, item)] = member.items()
                yield _of_item(function, f"{kind}Item", item)
        case "BatchGetItem":
            for table, request in call["RequestItems"].items():
                for key in request["Keys"]:
                    single = {**request, "TableName": table, "Key": key}
                    yield _of_item(function, operation, single, _select(request))
        case "GetItem":
            yield _of_item(function, operation, call, _select(call))
        case "PutItem" | "UpdateItem" | "DeleteItem":
            returned = (RETURN_VALUES, call.get("ReturnValues", "NONE"))
            yield _of_item(function, operation, call, returned)
        case "Query":
            yield _of_query(function, call)
        case _:
            yield Access(function, f"dynamodb:{operation}", call.get("TableName", ""))


def _of_item(function: str, operation: str, call: Json, *conditions: tuple[str, str]) -> Access:
    table, row = _logical_id(call["TableName"]), call.get("Key") or call["Item"]
    keys = (_kind(row[_partition_key(table)]),)
    is_whole = operation in {"PutItem", "DeleteItem"}
    attributes: frozenset[str] = frozenset() if is_whole else frozenset(row) | _names(call)
    return Access(function, f"dynamodb:{operation}", table, keys, conditions, attributes)


def _of_query(function: str, call: Json) -> Access:
    table, index = _logical_id(call["TableName"]), call.get("IndexName", "")
    partition = _partition_key(table, index)
    aliases = {name: alias for alias, name in call.get("ExpressionAttributeNames", {}).items()}
    key = re.escape(aliases.get(partition, partition))
    found = re.search(rf"(?<![\w#]){key} = (:\w+)", call["KeyConditionExpression"])
    assert found, f"no partition key in {call['KeyConditionExpression']}"
    return Access(
        function,
        "dynamodb:Query",
        f"{table}/index/{index}" if index else table,
        ("*",) if index else (_kind(call["ExpressionAttributeValues"][found[1]]),),
        (_select(call),),
        _names(call),
    )


def _logical_id(name: str) -> str:
    """The part of a name after the stack's own prefix."""
    return name.rpartition("-")[2]


def _select(call: Json) -> tuple[str, str]:
    """The value of `Select`, which every read has."""
    if "ProjectionExpression" in call:
        default = "SPECIFIC_ATTRIBUTES"
    else:
        default = "ALL_PROJECTED_ATTRIBUTES" if "IndexName" in call else "ALL_ATTRIBUTES"
    return SELECT, str(call.get("Select", default))


def _kind(value: Mapping[str, str]) -> str:
    """The prefix of a partition key, such as `deleted#`, and `*` for the rest."""
    prefix = re.match(r"[a-z]+#", next(iter(value.values())))
    return f"{prefix[0]}*" if prefix else "*"


def _names(call: Json) -> frozenset[str]:
    """The top-level attributes that the expressions of a request name."""
    text = " ".join(call[name] for name in call if name.endswith("Expression"))
    aliases = call.get("ExpressionAttributeNames", {})
    found = re.findall(r"(?<![\w:#.])#?[A-Za-z_]\w*(?!\w|\()", text)
    return frozenset(aliases.get(name, name) for name in found if name not in WORDS)


@cache
def _partition_key(table: str, index: str = "") -> str:
    # Imported here, because SAM's translator takes a second, and most runs of pytest make no call.
    from tests.template.stack import properties  # noqa: PLC0415

    body = properties(TABLE, table)
    schemas = {each["IndexName"]: each["KeySchema"] for each in body["GlobalSecondaryIndexes"]}
    schema = {"": body["KeySchema"], **schemas}[index]
    return str(next(key["AttributeName"] for key in schema if key["KeyType"] == "HASH"))
