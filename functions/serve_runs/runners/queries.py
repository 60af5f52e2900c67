"""Listing a project's runners by name: one key query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from byline.refresh.runner_rows import RunnerRow, UnreadableRow, read_runner, runner_key
from byline.tables.rows import Item
from serve_runs.web.paging import Position

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

logger = Logger(service="byline")


def list_runners(
    client: "DynamoDBClient", table: str, project: str, *, limit: int, after: Position | None
) -> tuple[list[RunnerRow], Position | None]:
    """Up to `limit` runners by name, and the position of the last one if more follow.

    A row that cannot be read is logged and left out, so that it does not hide the others.
    """
    query: QueryInputTypeDef = {
        "TableName": table,
        # One row more than the page shows whether this page is the last.
        "Limit": limit + 1,
        "KeyConditionExpression": "#project = :project",
        # `project` is a reserved word of DynamoDB.
        "ExpressionAttributeNames": {"#project": "project"},
        "ExpressionAttributeValues": {":project": {"S": project}},
    }
    if after is not None:
        # The project comes from the request, so a forged cursor cannot leave it.
        query["ExclusiveStartKey"] = runner_key(project, after.id)
    page = client.query(**query)
    items = page["Items"][:limit]
    is_last = len(page["Items"]) <= limit and "LastEvaluatedKey" not in page
    position = None if is_last or not items else Position(project, items[-1]["runner"]["S"])
    return _readable(items), position


def _readable(items: list[Item]) -> list[RunnerRow]:
    rows = []
    for item in items:
        try:
            rows.append(read_runner(item))
        except UnreadableRow as unreadable:
            logger.error("row unreadable", row=str(unreadable))
    return rows
