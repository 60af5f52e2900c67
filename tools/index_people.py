"""Makes the rows of earlier versions found by which a principal has rights: in indexes, by entries.

    PYTHONPATH=layers/identity:functions python -m tools.index_people RunsTable AccessTable

uses the credentials and region of the environment. Run it once after the first deployment of a
version that finds more rows. It scans both tables, which no function may, and then writes the row
by which `GET /v1/people/{principal}` knows that its answers are complete. Requests can go on
meanwhile. A second run changes nothing.
"""

import sys
from typing import TYPE_CHECKING, Any

import boto3

from byline.tables.rows import ConditionFailed, write_row, write_together
from serve_runs.credentials.reader_entries import entry_changes
from serve_runs.credentials.views import PREFIX
from serve_runs.people.holdings import HOLDER_INDEX, INDEX_FORMAT, marker_key
from serve_runs.runs.queries import ACCOUNTABLE_INDEX
from serve_runs.service_accounts.views import ENTRY
from tools.index_live_runs import ATTEMPTS, index_live_runs

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ROLES = "roles#"


def index_people(client: "DynamoDBClient", *, runs_table: str, access_table: str) -> int:
    """Correct the rows of both tables. Returns the number of changed rows.

    Raises `SystemExit` where an index does not exist yet: the version before may still write rows
    that are in no index.
    """
    _require_index(client, runs_table, ACCOUNTABLE_INDEX)
    _require_index(client, access_table, HOLDER_INDEX)
    changed = _index_rights(client, access_table) + _index_readers(client, access_table)
    changed += index_live_runs(client, runs_table)
    marker = {**marker_key(), "format": {"N": str(INDEX_FORMAT)}}
    client.put_item(TableName=access_table, Item=marker)
    return changed


def _require_index(client: "DynamoDBClient", table: str, name: str) -> None:
    """Raise `SystemExit` unless DynamoDB has filled the index."""
    found = client.describe_table(TableName=table)["Table"].get("GlobalSecondaryIndexes", ())
    states = {index["IndexName"]: index["IndexStatus"] for index in found}
    if states.get(name) != "ACTIVE":
        state = states.get(name, "missing")
        sys.exit(f"{table}: the index {name} is {state}. Deploy, wait until it is ACTIVE, repeat.")


def _index_rights(client: "DynamoDBClient", table: str) -> int:
    """Write the principal into each row of roles, and the person into each registration."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression=(
            "(begins_with(entry, :roles) OR begins_with(entry, :account))"
            " AND attribute_not_exists(holder)"
        ),
        ExpressionAttributeValues={":roles": {"S": ROLES}, ":account": {"S": ENTRY}},
        ConsistentRead=True,
    )
    return sum(_write(client, table, row) for page in pages for row in page["Items"])


def _write(client: "DynamoDBClient", table: str, row: dict[str, Any]) -> bool:
    """Write the holder of a row; False where the row was deleted or replaced meanwhile."""
    entry = row["entry"]["S"]
    is_role = entry.startswith(ROLES)
    holder = entry.removeprefix(ROLES) if is_role else row["person"]["S"]
    # A row of roles is never deleted, and its principal never changes.
    condition = "attribute_exists(entry)" if is_role else "person = :holder"
    try:
        write_row(
            client,
            lambda: client.update_item(
                TableName=table,
                Key={"scope": row["scope"], "entry": row["entry"]},
                UpdateExpression="SET holder = :holder",
                ConditionExpression=condition,
                ExpressionAttributeValues={":holder": {"S": holder}},
            ),
        )
    except ConditionFailed:
        return False
    return True


def _index_readers(client: "DynamoDBClient", table: str) -> int:
    """Write the entries of the applications that credentials name as readers."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="begins_with(entry, :credential) AND attribute_exists(readers)",
        ExpressionAttributeValues={":credential": {"S": PREFIX}},
        ConsistentRead=True,
    )
    return sum(_write_entries(client, table, row) for page in pages for row in page["Items"])


def _write_entries(client: "DynamoDBClient", table: str, found: dict[str, Any]) -> int:
    """Write the entries that a credential lacks; their number.

    A change of its readers writes entries only for those that it adds, so the row is read again
    where it changed meanwhile.
    """
    key = {"scope": found["scope"], "entry": found["entry"]}
    row: Any = found
    written = 0
    for _ in range(ATTEMPTS):
        refused: set[str] = set()
        for entry in entry_changes(table, None, row).values():
            put: Any = entry["Put"]
            check: Any = {
                "TableName": table,
                "Key": key,
                "ConditionExpression": "readers = :readers",
                "ExpressionAttributeValues": {":readers": row["readers"]},
            }
            put["ConditionExpression"] = "attribute_not_exists(entry)"
            refusals = write_together(client, {"row": {"ConditionCheck": check}, "entry": entry})
            written += not refusals
            refused |= refusals.keys()
        if "row" not in refused:
            return written
        row = client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        if row is None or "readers" not in row:
            return written
    raise RuntimeError(f"{key['entry']['S']} changes too often; run it again")


if __name__ == "__main__":
    runs, access = sys.argv[1:]
    changed = index_people(boto3.client("dynamodb"), runs_table=runs, access_table=access)
    print(f"changed {changed} rows")
