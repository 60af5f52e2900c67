"""What moto accepts as a key, and DynamoDB does not: text that is too long, or empty.

2,048 bytes of a partition key and 1,024 of a sort key, of a table's and of an index's, in whatever
operation it stands.
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
    """The attributes of a request that are no keys for their size. `definition`: of a table."""
    return [
        name
        for table, index, items in _keys_of(document)
        for name, most in _sizes(definition(table), index).items()
        for value in items.get(name, ())
        if not 0 < len(value.encode()) <= most
    ]


def _keys_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str | None, dict[str, list[str]]]]:
    """The table, the index and the texts by attribute, of everything that a request names."""
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
    """What a query's condition compares its keys with."""
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
    """How long each key attribute may be; of a write, in every index too."""
    indexes = definition.get("GlobalSecondaryIndexes", ())
    schemas = [one["KeySchema"] for one in indexes if index in (None, one["IndexName"])]
    sizes: dict[str, int] = {}
    for schema in [*([definition["KeySchema"]] if index is None else []), *schemas]:
        for key in schema:
            most = MOST_BYTES[key["KeyType"]]
            sizes[key["AttributeName"]] = min(most, sizes.get(key["AttributeName"], most))
    return sizes
