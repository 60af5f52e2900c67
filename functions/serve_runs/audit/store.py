"""Queries of the audit trail, newest first: one key or index query a page, never a scan.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ulid import ULID

from byline.tables.paging import ROWS_PER_PAGE, Page, list_rows
from byline.tables.rows import Item
from serve_runs.audit.trail import AuditedResource
from serve_runs.errors import index_unavailable, is_about_an_index

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef, QueryOutputTypeDef

PERSON_INDEX = "by-person"
"""Keyed by (answerable, entry). It has only records with an accountable principal."""

PROJECT_INDEX = "by-project"
"""Keyed by (project, entry). Beside records it has the rows of service accounts, agents and
credentials, whose entries begin with a lower-case letter and so follow those of records."""

_FIRST, _END = "0", "8"
"""Every ULID is between them."""

_LATEST_MILLISECOND = 2**48 - 1


@dataclass(frozen=True, slots=True)
class ActorRecords:
    """The records of a principal in a project: of its actions, and of actions on its behalf."""

    project: str
    principal: str


@dataclass(frozen=True, slots=True)
class ProjectRecords:
    """All records of a project."""

    project: str


type ListedRecords = AuditedResource | ActorRecords | ProjectRecords


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """The filters of a listing. None filters nothing.

    `since`, `until`: seconds since the epoch; a record of the time `until` is left out.
    """

    through: str | None = None
    action: str | None = None
    resource_type: str | None = None
    since: float | None = None
    until: float | None = None

    @property
    def columns(self) -> dict[str, str]:
        """The values that columns of a record must have, by column."""
        wanted = {
            "through": self.through,
            "action": self.action,
            "resource_type": self.resource_type,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def entries(self, after: str | None) -> tuple[str, str]:
        """The first and the last entry that a page after the entry `after` can have."""
        first = _FIRST if self.since is None else _earliest(self.since)
        end = _END if self.until is None else _earliest(self.until)
        return first, _before(end if after is None else min(end, after))


def list_records(
    client: "DynamoDBClient",
    table: str,
    subjects: Sequence[ListedRecords],
    *,
    having: RecordFilter,
    limit: int,
    after: str | None,
) -> Page:
    """Up to `limit` records of all `subjects`, and the entry after which the next page starts.

    A principal's records of other projects are skipped, as those that the filter leaves out, so a
    page that is not the last may be short. Raises `RequestFailed` (`store_unavailable`) while
    DynamoDB fills a new index.
    """
    listings = [partial(_read_page, client, table, each, having, limit) for each in subjects]
    return list_rows(listings, limit=limit, after=after, key_of=entry_of)


def entry_of(item: Item) -> str:
    """A record's id, by which all listings are ordered."""
    return item["entry"]["S"]


def _read_page(
    client: "DynamoDBClient",
    table: str,
    subject: ListedRecords,
    having: RecordFilter,
    limit: int,
    after: str | None,
) -> "QueryOutputTypeDef":
    first, last = having.entries(after)
    # DynamoDB refuses a range whose start follows its end. No entry equals `last`.
    first = min(first, last)
    match subject:
        case AuditedResource():
            key, value, index = "scope", subject.scope, None
        case ActorRecords():
            key, value, index = "answerable", subject.principal, PERSON_INDEX
        case ProjectRecords():
            key, value, index = "project", subject.project, PROJECT_INDEX
    query: QueryInputTypeDef = {
        "TableName": table,
        "ScanIndexForward": False,
        # One row more than the page shows whether an unfiltered listing has ended.
        "Limit": limit + 1,
        # A condition instead of a start key: a forged cursor cannot leave the partition.
        "KeyConditionExpression": "#key = :key AND entry BETWEEN :first AND :last",
        # `scope` and `project` are reserved words of DynamoDB.
        "ExpressionAttributeNames": {"#key": key},
        "ExpressionAttributeValues": {
            ":key": {"S": value},
            ":first": {"S": first},
            ":last": {"S": last},
        },
    }
    if index is not None:
        query["IndexName"] = index
    filters = having.columns
    if isinstance(subject, ActorRecords):
        filters["project"] = subject.project
    if filters:
        query["Limit"] = ROWS_PER_PAGE
        query["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in filters)
        query["ExpressionAttributeNames"] = {"#key": key, **{f"#{name}": name for name in filters}}
        query["ExpressionAttributeValues"] = {
            **query["ExpressionAttributeValues"],
            **{f":{name}": {"S": text} for name, text in filters.items()},
        }
    try:
        return client.query(**query)
    except client.exceptions.ClientError as error:
        if not is_about_an_index(error):
            raise
        raise index_unavailable() from None


def _earliest(at: float) -> str:
    """The first entry that a record of the time `at` can have."""
    # A float has exact microseconds. A time between two milliseconds counts as the later one.
    milliseconds = min(max(-(-round(at * 1_000_000) // 1_000), 0), _LATEST_MILLISECOND)
    return str(ULID(milliseconds.to_bytes(6) + bytes(10)))


def _before(entry: str) -> str:
    """A text that follows every shorter or equally long entry before `entry`, and precedes it.

    `~` follows every character of an entry.
    """
    return f"{entry[:-1]}{chr(ord(entry[-1]) - 1)}~"
