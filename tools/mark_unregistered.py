"""Marks the runs that were written while registration was off, for `make backfill` to tell of.

    PYTHONPATH=layers/identity python -m tools.mark_unregistered RunsTable

with the credentials and region of the environment, once, after registration was switched on. It
reads the whole table, which no function may. Runs that are known already, and deleted ones that
never were, are left alone; a second time marks nothing.
"""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3

from byline.registration.outbox import DELETED, unregistered_mark

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


def mark_all(client: "DynamoDBClient", table: str) -> int:
    """Mark what the authorization service should know and was never told. Returns how many."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="attribute_not_exists(unregistered) AND attribute_exists(created_at)",
    )
    return sum(
        _mark(client, table, row) for page in pages for row in page["Items"] if _is_untold(row)
    )


def _is_untold(row: dict[str, Any]) -> bool:
    project = row["project"]["S"]
    if project.startswith(DELETED):
        return "registered_at" in row and "deregistered_at" not in row
    # A project's own name has no `#`: all others are no runs.
    return "#" not in project and "registered_at" not in row


def _mark(client: "DynamoDBClient", table: str, row: dict[str, Any]) -> bool:
    """False where the row changed meanwhile: it went, or was told."""
    since = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shard, time = unregistered_mark(row["id"]["S"], since=since).items()
    try:
        client.update_item(
            TableName=table,
            Key={"project": row["project"], "id": row["id"]},
            UpdateExpression=f"SET {shard[0]} = :shard, {time[0]} = :since",
            ConditionExpression="attribute_exists(id) AND attribute_not_exists(unregistered)",
            ExpressionAttributeValues={":shard": shard[1], ":since": time[1]},
        )
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


if __name__ == "__main__":
    print(f"marked {mark_all(boto3.client('dynamodb'), sys.argv[1])} runs")
