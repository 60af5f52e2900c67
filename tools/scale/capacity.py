"""The capacity that DynamoDB charges for a change, from the rows before and after it.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
A transaction doubles the units of a table, but not those of its indexes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

WRITE_UNIT_BYTES = 1_024
READ_UNIT_BYTES = 4_096
STORAGE_OVERHEAD_BYTES = 100

type Row = Mapping[str, Any]
type Rows = Mapping[tuple[str, str], Row]
"""The rows of a table, by partition and sort key."""


@dataclass(frozen=True, slots=True)
class Index:
    """The keys of a table, or of one of its indexes; `projected` is None for all attributes."""

    name: str
    partition: str
    sort: str
    projected: frozenset[str] | None = None

    def key_of(self, row: Row | None) -> tuple[str, str] | None:
        """The row's key, None where it is not in the index."""
        if row is None or self.partition not in row or self.sort not in row:
            return None
        return row[self.partition]["S"], row[self.sort]["S"]

    def projection(self, row: Row) -> Row:
        """The attributes that the index has of a row."""
        kept = self.projected
        return row if kept is None else {name: row[name] for name in row if name in kept}


def size(row: Row) -> int:
    """The bytes of a row, by DynamoDB's rules."""
    return sum(len(name.encode()) + _size_of(value) for name, value in row.items())


def storage(row: Row) -> int:
    """The bytes of a row that are paid for, in a table and in an index."""
    return size(row) + STORAGE_OVERHEAD_BYTES


def written(before: Rows, after: Rows, index: Index, *, factor: int) -> Counter[str]:
    """The write units of a change in each partition of a table or index.

    `factor`: 2 for the table of a transaction, else 1.
    """
    units: Counter[str] = Counter()
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        old_key, new_key = index.key_of(old), index.key_of(new)
        if old_key == new_key and old is not None and new is not None:
            if old_key is not None and index.projection(old) != index.projection(new):
                largest = max(size(index.projection(old)), size(index.projection(new)))
                units[old_key[0]] += factor * ceil(largest / WRITE_UNIT_BYTES)
            continue
        for row, at in ((old, old_key), (new, new_key)):
            if row is not None and at is not None:
                bytes_ = size(index.projection(row))
                units[at[0]] += factor * ceil(bytes_ / WRITE_UNIT_BYTES)
    return units


def _size_of(value: Mapping[str, Any]) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return ceil(len(content.strip("-0.")) / 2) + 1
        case "BOOL":
            return 1
        case "M":
            return 3 + sum(1 + len(n.encode()) + _size_of(v) for n, v in content.items())
    raise ValueError(f"no row has an attribute of type {kind}")
