"""Adds an outbox entry to each run that was written while registration was off.

    PYTHONPATH=layers/identity python -m tools.add_outbox_entries RunsTable

uses the credentials and region of the environment. Run it once after registration was switched on,
then `make backfill`. It scans the whole table, which no function may. It skips registered runs, and
deleted runs that were never registered. A second run adds nothing.
"""

import sys
import time
from typing import TYPE_CHECKING, Any

import boto3

from byline.registration.outbox import DELETED, ENTRY_ATTRIBUTES, outbox_entry
from byline.tables.rows import ConditionFailed, rfc3339, write_row

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


def add_outbox_entries(client: "DynamoDBClient", table: str) -> int:
    """Add the missing outbox entries. Returns their number."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="attribute_not_exists(unregistered) AND attribute_exists(created_at)",
    )
    return sum(
        _add(client, table, row) for page in pages for row in page["Items"] if _is_missing(row)
    )


def _is_missing(row: dict[str, Any]) -> bool:
    project = row["project"]["S"]
    if project.startswith(DELETED):
        return "registered_at" in row and "deregistered_at" not in row
    # Rows with another `#` in their project are not runs.
    return "#" not in project and "registered_at" not in row


def _add(client: "DynamoDBClient", table: str, row: dict[str, Any]) -> bool:
    """Add an outbox entry to `row`. False if the row is gone or has an entry by now."""
    shard, since = ENTRY_ATTRIBUTES
    entry = outbox_entry(row["id"]["S"], since=rfc3339(time.time()))
    try:
        write_row(
            client,
            lambda: client.update_item(
                TableName=table,
                Key={"project": row["project"], "id": row["id"]},
                UpdateExpression=f"SET {shard} = :shard, {since} = :since",
                ConditionExpression="attribute_exists(id) AND attribute_not_exists(unregistered)",
                ExpressionAttributeValues={":shard": entry[shard], ":since": entry[since]},
            ),
        )
    except ConditionFailed:
        return False
    return True


if __name__ == "__main__":
    added = add_outbox_entries(boto3.client("dynamodb"), sys.argv[1])
    print(f"added {added} outbox entries")
