"""Adds an outbox entry to each run that was written while registration was off for its project.

`make backfill PROJECTS=…` calls it. It skips registered runs, and deleted runs that were never
registered. A second time it adds nothing.
"""

import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from byline.registration.outbox import DELETED, ENTRY_ATTRIBUTES, outbox_entry
from byline.tables.rows import ConditionFailed, rfc3339, write_row

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_WITHOUT_ENTRY: Any = {
    "FilterExpression": "attribute_not_exists(unregistered) AND attribute_exists(created_at)"
}


def add_outbox_entries(
    client: "DynamoDBClient", table: str, *, projects: Collection[str] = ()
) -> int:
    """Add the missing outbox entries of `projects`, of all where it is empty; returns their number.

    For all projects it scans the whole table, which no function may.
    """
    rows = _of_projects(client, table, projects) if projects else _of_all(client, table)
    return sum(_add(client, table, row) for row in rows if _is_missing(row))


def _of_all(client: "DynamoDBClient", table: str) -> Iterator[dict[str, Any]]:
    for page in client.get_paginator("scan").paginate(TableName=table, **_WITHOUT_ENTRY):
        yield from page["Items"]


def _of_projects(
    client: "DynamoDBClient", table: str, projects: Collection[str]
) -> Iterator[dict[str, Any]]:
    for project in sorted(projects):
        for partition in (project, DELETED + project):
            pages = client.get_paginator("query").paginate(
                TableName=table,
                KeyConditionExpression="#project = :project",
                ExpressionAttributeNames={"#project": "project"},
                ExpressionAttributeValues={":project": {"S": partition}},
                **_WITHOUT_ENTRY,
            )
            for page in pages:
                yield from page["Items"]


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
