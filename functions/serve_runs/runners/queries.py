"""Listing a project's runners and tokens: one key query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from byline.refresh.runner_rows import RunnerRow, read_runner, runner_key
from byline.refresh.token_rows import (
    TokenRow,
    UnreadableRow,
    read_token_row,
    token_key,
    tokens_of,
)
from byline.tables.rows import Item, read_rows
from serve_runs.errors import RequestFailed
from serve_runs.runners.changes import Runner
from serve_runs.runners.store import RunnerStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

logger = Logger(service="byline")


def list_runners(
    client: "DynamoDBClient",
    table: str,
    project: str,
    *,
    limit: int,
    after: str | None,
    store: RunnerStore,
) -> tuple[list[Runner], str | None]:
    """Up to `limit` runners by name with their tokens, and the last name if more follow.

    A row that cannot be read is logged and left out, so that it does not hide the others.
    """
    # The project comes from the request, so a forged cursor cannot leave it.
    start = None if after is None else runner_key(project, after)
    items, last = _page(client, table, {"S": project}, limit=limit, start=start)
    rows = _readable(items, read_runner)
    tokens = _tokens_of(client, table, rows)
    runners = []
    for row in rows:
        token = tokens.get(row.token)
        if token is not None:
            runners.append(Runner(row, token))
        else:  # the runner has moved to another token since the query, or its token is unreadable
            runners += _read_again(store, row)
    return runners, last


def list_tokens(
    client: "DynamoDBClient", table: str, project: str, *, limit: int, after: str | None
) -> tuple[list[TokenRow], str | None]:
    """Up to `limit` live tokens by client, and the last one's sort key if more follow.

    A row that cannot be read is logged and left out, so that it does not hide the others.
    """
    start = None if after is None else token_key(project, after)
    items, last = _page(client, table, tokens_of(project), limit=limit, start=start)
    return _readable(items, read_token_row), last


def _page(
    client: "DynamoDBClient", table: str, partition: Any, *, limit: int, start: Item | None
) -> tuple[list[Item], str | None]:
    """Up to `limit` rows of a partition after `start`, and the last sort key if more follow."""
    query: QueryInputTypeDef = {
        "TableName": table,
        # One row more than the page shows whether this page is the last.
        "Limit": limit + 1,
        "KeyConditionExpression": "#project = :project",
        # `project` is a reserved word of DynamoDB.
        "ExpressionAttributeNames": {"#project": "project"},
        "ExpressionAttributeValues": {":project": partition},
    }
    if start is not None:
        query["ExclusiveStartKey"] = start
    page = client.query(**query)
    items = page["Items"][:limit]
    is_last = len(page["Items"]) <= limit and "LastEvaluatedKey" not in page
    return items, None if is_last or not items else items[-1]["runner"]["S"]


def _tokens_of(
    client: "DynamoDBClient", table: str, rows: list[RunnerRow]
) -> Mapping[str, TokenRow]:
    """The tokens that the runners point to, by sort key: one row for all that share it."""
    read = read_rows(client, table, [row.token_key for row in rows], consistent=False)
    found = _readable(read.complete(), read_token_row)
    return {token.mint_key.token_key: token for token in found}


def _read_again(store: RunnerStore, row: RunnerRow) -> list[Runner]:
    try:
        return [store.get(row.project, row.runner)]
    except UnreadableRow as unreadable:
        logger.error("row unreadable", row=str(unreadable))
    except RequestFailed:
        pass  # deleted since the query
    return []


def _readable[Row](items: Iterable[Item], read: Callable[[Item], Row]) -> list[Row]:
    rows = []
    for item in items:
        try:
            rows.append(read(item))
        except UnreadableRow as unreadable:
            logger.error("row unreadable", row=str(unreadable))
    return rows
