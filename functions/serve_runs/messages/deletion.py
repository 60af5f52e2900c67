"""The end of a run's messages when the run is deleted: their content goes at once.

The rows are overwritten and expire, because the function may put messages and not delete them. So
no error in it can make a message of an existing run disappear without a trace.
"""

from typing import TYPE_CHECKING, Any

from byline.caching import Clock
from byline.tables.rows import EXPIRES_AT, seconds, write_together
from serve_runs.errors import RequestFailed
from serve_runs.messages.views import partition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

ROWS_AT_ONCE = 50
PAGES_A_REQUEST = 20


def empty_messages(
    client: "DynamoDBClient",
    table: str,
    project: str,
    run_id: str,
    *,
    now: Clock,
    pages: int = PAGES_A_REQUEST,
    at_once: int = ROWS_AT_ONCE,
) -> None:
    """Overwrite the messages of a deleted run by rows without content, which have expired.

    No message can follow, because the transaction of a message checks the run's row. If a request
    stops early, no route shows the rows that are left, and the same request again empties them.
    Raises `RequestFailed` (`store_unavailable`) where more than `pages` of `at_once` rows follow.
    """
    at = seconds(now())
    query: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": "#project = :messages",
        "FilterExpression": f"attribute_not_exists({EXPIRES_AT}) OR {EXPIRES_AT} > :now",
        # Of the row with the last id, that id stays.
        "ProjectionExpression": "#project, id, #last",
        "ExpressionAttributeNames": {"#project": "project", "#last": "last"},
        "ExpressionAttributeValues": {
            ":messages": {"S": partition(project, run_id)},
            ":now": at,
        },
        "ConsistentRead": True,
        "Limit": at_once,
    }
    for _ in range(pages):
        page = client.query(**query)
        puts = {
            item["id"]["S"]: {"Put": {"TableName": table, "Item": {**item, EXPIRES_AT: at}}}
            for item in page["Items"]
        }
        if puts:
            write_together(client, puts)  # type: ignore[arg-type]
        if "LastEvaluatedKey" not in page:
            return
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    raise RequestFailed(
        "store_unavailable",
        "The run is deleted, but not all of its messages. Send the same request again.",
    )
