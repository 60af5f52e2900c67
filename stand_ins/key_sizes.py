"""Finds keys that moto accepts and DynamoDB does not: text that is too long, or empty.

A partition key has at most 2,048 bytes and a sort key 1,024, in a table and in an index, and in
every operation.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_BYTES = {"HASH": 2_048, "RANGE": 1_024}

_COMPARED = re.compile(r"([#\w]+)\s*(?:=|<=?|>=?|BETWEEN)\s*(:\w+)(?:\s+AND\s+(:\w+))?")
_BEGINS = re.compile(r"begins_with\(\s*([#\w]+)\s*,\s*(:\w+)\s*\)()")

type Definition = Callable[[str], Mapping[str, Any]]


def bad_keys(document: Mapping[str, Any], *, definition: Definition) -> list[str]:
    """The key attributes of a request whose size DynamoDB refuses.

    `definition` returns the definition of a table (`CreateTable`'s parameters) by its name.
    """
    return [
        name
        for table, index, items in _keys_of(document)
        for name, most in _sizes(definition(table), index).items()
        for value in items.get(name, ())
        if not 0 < len(value.encode()) <= most
    ]


def _keys_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str | None, dict[str, list[str]]]]:
    """The table, the index and the texts by attribute, for each key or row in a request."""
    for action in document.get("TransactItems", ()):
        for single in action.values():
            yield from _keys_of(single)
    for table, several in document.get("RequestItems", {}).items():
        for key in several["Keys"]:
            yield table, None, _texts(key)
    if "TableName" in document:
        table, index = document["TableName"], document.get("IndexName")
        for member in ("Key", "Item", "ExclusiveStartKey"):
            yield table, index, _texts(document.get(member, {}))
        yield table, index, _condition(document)


def _condition(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """The texts that a query's condition compares each key attribute with."""
    names = document.get("ExpressionAttributeNames", {})
    values = document.get("ExpressionAttributeValues", {})
    found: dict[str, list[str]] = {}
    for pattern in (_COMPARED, _BEGINS):
        for name, *placeholders in pattern.findall(document.get("KeyConditionExpression", "")):
            texts = [values[each]["S"] for each in placeholders if "S" in values.get(each, {})]
            found.setdefault(names.get(name, name), []).extend(texts)
    return found


def _texts(item: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: [value["S"]] for name, value in item.items() if "S" in value}


def _sizes(definition: Mapping[str, Any], index: str | None) -> dict[str, int]:
    """The most bytes of each key attribute. Without an index: in the table and all its indexes."""
    indexes = definition.get("GlobalSecondaryIndexes", ())
    schemas = [one["KeySchema"] for one in indexes if index in (None, one["IndexName"])]
    sizes: dict[str, int] = {}
    for schema in [*([definition["KeySchema"]] if index is None else []), *schemas]:
        for key in schema:
            most = MOST_BYTES[key["KeyType"]]
            sizes[key["AttributeName"]] = min(most, sizes.get(key["AttributeName"], most))
    return sizes
