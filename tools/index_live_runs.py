"""Writes each run into the two indexes of live runs, or takes it out, as its state demands.

    PYTHONPATH=layers/identity:functions python -m tools.index_live_runs RunsTable

uses the credentials and region of the environment. Run it before the upgrade to the first release
with the indexes; `tools.index_people` does the same after it: the release before does not maintain
them. It scans the whole table, which no function may. Requests can go on meanwhile. A second run
changes nothing.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3

from byline.identity.caller import Principal, PrincipalKind
from byline.tables.rows import ConditionFailed, text_of, write_row
from serve_runs.runs.states import LIVE
from serve_runs.runs.views import accountable_partition, live_partition

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
        wanted = _partitions(row)
        if all(text_of(row, name) == value for name, value in wanted.items()):
            return False
        if _write(client, table, key, wanted, seen=row["last_request"]):
            return True
        row = client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        if row is None:
            return False
    raise RuntimeError(f"{key['id']['S']} of {key['project']['S']} changes too often; run it again")


def _partitions(row: dict[str, Any]) -> dict[str, str | None]:
    """The partitions of the indexes that the row belongs to, None for a run that is over."""
    project, status = row["project"]["S"], row["status"]["S"]
    if "#" in project or status not in LIVE:
        return {"live": None, "live_for": None}
    return {"live": live_partition(project, status), "live_for": _partition_of_person(row)}


def _partition_of_person(run: dict[str, Any]) -> str | None:
    """The partition of the principal that is accountable for a run, None for an anonymous one."""
    if "person" in run:
        return accountable_partition(run["person"]["S"])
    issuer, subject = text_of(run, "creator_issuer"), text_of(run, "creator")
    if not issuer or not subject:
        return None
    kind: PrincipalKind = "user" if "creator_user_id" in run else "application"
    return accountable_partition(Principal(kind, issuer, subject).text)


def _write(
    client: "DynamoDBClient",
    table: str,
    key: Any,
    wanted: Mapping[str, str | None],
    *,
    seen: Any,
) -> bool:
    present = {name: value for name, value in wanted.items() if value is not None}
    absent = wanted.keys() - present.keys()
    parts = []
    if present:
        parts.append(f"SET {', '.join(f'{name} = :{name}' for name in present)}")
    if absent:
        parts.append(f"REMOVE {', '.join(sorted(absent))}")
    values = {":seen": seen} | {f":{name}": {"S": value} for name, value in present.items()}
    try:
        write_row(
            client,
            lambda: client.update_item(
                TableName=table,
                Key=key,
                UpdateExpression=" ".join(parts),
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
