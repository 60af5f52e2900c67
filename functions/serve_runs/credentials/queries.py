"""Listing credentials, by name: one query a page, never a scan."""

from typing import TYPE_CHECKING

from serve_runs.access.projects import project_key
from serve_runs.credentials.views import DELETING_UNTIL, PREFIX, Credential, read_credential

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


def list_credentials(
    client: "DynamoDBClient", table: str, project: str, *, limit: int, after: str | None
) -> tuple[list[Credential], str | None]:
    """Up to `limit` credentials by name, and the last name if more follow."""
    found: list[Credential] = []
    start = after
    while len(found) <= limit:
        page = client.query(
            TableName=table,
            KeyConditionExpression="#scope = :scope AND entry BETWEEN :first AND :last",
            FilterExpression=f"attribute_not_exists({DELETING_UNTIL})",
            ExpressionAttributeNames={"#scope": "scope"},
            ExpressionAttributeValues={
                ":scope": project_key(project)["scope"],
                # `!` sorts before `-`, which sorts before the letters and digits of names.
                ":first": {"S": f"{PREFIX}{start or ''}!"},
                ":last": {"S": f"{PREFIX}~"},
            },
            ConsistentRead=True,
            Limit=limit + 1,
        )
        found += [read_credential(item) for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            break
        start = page["LastEvaluatedKey"]["entry"]["S"].removeprefix(PREFIX)
    shown = found[:limit]
    return shown, shown[-1].name if len(found) > limit else None
