"""Reading the audit trail, newest first: one key or index query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from byline.tables.items import Item
from serve_runs.audit.records import Resource
from serve_runs.runs.listing import PAGES_A_LISTING, ROWS_A_PAGE, merged

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

PERSON_INDEX = "by-person"
"""(answerable, entry): holds only records of which somebody is known to answer."""


@dataclass(frozen=True, slots=True)
class Doings:
    """What a principal did in a project, or others did on behalf of it."""

    project: str
    principal: str


def list_records(
    client: "DynamoDBClient",
    table: str,
    subjects: Sequence[Resource | Doings],
    *,
    limit: int,
    after: str | None,
) -> tuple[list[Item], str | None]:
    """Up to `limit` records of resources or principals, and after which to go on.

    Reads a bounded number of pages: what a principal did elsewhere is passed over, so its listing
    may end early with a place to go on.
    """
    pages = [_list(client, table, subject, limit=limit, after=after) for subject in subjects]
    return merged(pages, limit=limit, id_of=entry_of)


def entry_of(item: Item) -> str:
    """A record's id, by which all listings are ordered."""
    return item["entry"]["S"]


def _list(
    client: "DynamoDBClient",
    table: str,
    subject: Resource | Doings,
    *,
    limit: int,
    after: str | None,
) -> tuple[list[Item], str | None]:
    found: list[Item] = []
    for _ in range(PAGES_A_LISTING):
        page = client.query(**_query(table, subject, limit, after))
        found += page["Items"]
        if len(found) > limit:
            return found[:limit], entry_of(found[limit - 1])
        if "LastEvaluatedKey" not in page:
            return found, None
        after = entry_of(page["LastEvaluatedKey"])
    return found, after


def _query(
    table: str, subject: Resource | Doings, limit: int, after: str | None
) -> "QueryInputTypeDef":
    if isinstance(subject, Resource):
        key, value = "scope", subject.scope
    else:
        key, value = "answerable", subject.principal
    condition = "#key = :key"
    # `scope` is a reserved word of DynamoDB's, as `project` is.
    names, values = {"#key": key}, {":key": {"S": value}}
    if after is not None:
        # A bound and no start key: whatever a forged cursor says, the partition is the request's.
        condition += " AND entry < :after"
        values[":after"] = {"S": after}
    query: QueryInputTypeDef = {
        "TableName": table,
        "ScanIndexForward": False,
        # One more than asked for tells whether a listing without a filter is at its end.
        "Limit": limit + 1,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
    if isinstance(subject, Doings):
        query["IndexName"] = PERSON_INDEX
        query["Limit"] = ROWS_A_PAGE
        query["FilterExpression"] = "#project = :project"
        names["#project"] = "project"
        values[":project"] = {"S": subject.project}
    return query
