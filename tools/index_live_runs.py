"""Writes each run into the index of live runs, or takes it out, as its state demands.

    PYTHONPATH=layers/identity:functions python -m tools.index_live_runs RunsTable

uses the credentials and region of the environment. Run it before and after the upgrade to the first
release with the index: the release before does not maintain it. It scans the whole table, which no
function may. Requests can go on meanwhile. A second run changes nothing.
"""

import sys
from typing import TYPE_CHECKING, Any

import boto3

from byline.tables.rows import ConditionFailed, write_row
from serve_runs.runs.states import LIVE
from serve_runs.runs.views import live_partition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ATTEMPTS = 3
"""How often a row is read, because a request may change it before the write."""


def index_live_runs(client: "DynamoDBClient", table: str) -> int:
    """Correct the rows of runs and tombstones. Returns the number of changed rows."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        # All rows of runs and tombstones have it, and no other row.
        FilterExpression="attribute_exists(last_request) AND attribute_exists(#status)",
        ExpressionAttributeNames={"#status": "status"},
    )
    return sum(_correct(client, table, row) for page in pages for row in page["Items"])


def _correct(client: "DynamoDBClient", table: str, found: dict[str, Any]) -> bool:
    """Correct a row; whether it was changed."""
    key = {"project": found["project"], "id": found["id"]}
    row: Any = found
    for _ in range(ATTEMPTS):
        wanted = _partition(row)
        if row.get("live", {}).get("S") == wanted:
            return False
        if _write(client, table, key, wanted, seen=row["last_request"]):
            return True
        row = client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        if row is None:
            return False
    raise RuntimeError(f"{key['id']['S']} of {key['project']['S']} changes too often; run it again")


def _partition(row: dict[str, Any]) -> str | None:
    """The partition of the index that the row belongs to, None for a run that is over."""
    project, status = row["project"]["S"], row["status"]["S"]
    return live_partition(project, status) if "#" not in project and status in LIVE else None


def _write(
    client: "DynamoDBClient", table: str, key: Any, wanted: str | None, *, seen: Any
) -> bool:
    values = {":seen": seen} | ({":live": {"S": wanted}} if wanted else {})
    try:
        write_row(
            client,
            lambda: client.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="SET live = :live" if wanted else "REMOVE live",
                ConditionExpression="last_request = :seen",
                ExpressionAttributeValues=values,
            ),
        )
    except ConditionFailed:
        return False
    return True


if __name__ == "__main__":
    changed = index_live_runs(boto3.client("dynamodb"), sys.argv[1])
    print(f"changed {changed} rows")
