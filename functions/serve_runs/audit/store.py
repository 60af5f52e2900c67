"""Queries of the audit trail, newest first: one key or index query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from byline.tables.paging import ROWS_PER_PAGE, Page, list_rows
from byline.tables.rows import Item
from serve_runs.audit.trail import AuditedResource

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef, QueryOutputTypeDef

PERSON_INDEX = "by-person"
"""Keyed by (answerable, entry). It has only records with an accountable principal."""


@dataclass(frozen=True, slots=True)
class ActorRecords:
    """The records of a principal in a project: of its actions, and of actions on its behalf."""

    project: str
    principal: str


def list_records(
    client: "DynamoDBClient",
    table: str,
    subjects: Sequence[AuditedResource | ActorRecords],
    *,
    through: str | None,
    limit: int,
    after: str | None,
) -> Page:
    """Up to `limit` records of all `subjects`, and the entry after which the next page starts.

    `through`: only those of actors who used this client. A principal's records of other projects
    are skipped, so a page that is not the last may be short.
    """
    listings = [partial(_read_page, client, table, each, through, limit) for each in subjects]
    return list_rows(listings, limit=limit, after=after, key_of=entry_of)


def entry_of(item: Item) -> str:
    """A record's id, by which all listings are ordered."""
    return item["entry"]["S"]


def _read_page(
    client: "DynamoDBClient",
    table: str,
    subject: AuditedResource | ActorRecords,
    through: str | None,
    limit: int,
    after: str | None,
) -> "QueryOutputTypeDef":
    if isinstance(subject, AuditedResource):
        key, value = "scope", subject.scope
    else:
        key, value = "answerable", subject.principal
    condition = "#key = :key"
    # `scope` and `project` are reserved words of DynamoDB.
    names, values = {"#key": key}, {":key": {"S": value}}
    if after is not None:
        # A condition instead of a start key: a forged cursor cannot leave the partition.
        condition += " AND entry < :after"
        values[":after"] = {"S": after}
    query: QueryInputTypeDef = {
        "TableName": table,
        "ScanIndexForward": False,
        # One row more than the page shows whether an unfiltered listing has ended.
        "Limit": limit + 1,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
    filters = {} if through is None else {"through": through}
    if isinstance(subject, ActorRecords):
        query["IndexName"] = PERSON_INDEX
        filters["project"] = subject.project
    if filters:
        query["Limit"] = ROWS_PER_PAGE
        query["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in filters)
        names |= {f"#{name}": name for name in filters}
        values |= {f":{name}": {"S": value} for name, value in filters.items()}
    return client.query(**query)
