"""The rows by which an application is found among the readers of credentials, in all projects.

Each is written and deleted together with the change of the credential's row, which decides: a row
that is left over from an earlier version gives nothing.
"""

from typing import TYPE_CHECKING

from byline.identity.caller import Principal
from byline.tables.rows import Item, text_of
from serve_runs.access.control import agent_key
from serve_runs.access.projects import project_key
from serve_runs.credentials.readers import read_stored
from serve_runs.credentials.views import PREFIX

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

PROJECT = project_key("")["scope"]["S"]

READER = "reader#"
"""The prefix of the sort keys of these rows, in the application's partition."""


def reader_key(application: Principal, project: str, credential: str) -> Item:
    """The key of the row that leads from an application to a credential that names it."""
    return agent_key(application, "") | {"entry": {"S": f"{READER}{project}#{credential}"}}


def named_applications(row: Item | None) -> frozenset[Principal]:
    """The applications that a credential's row names as readers; none for a marker."""
    readers = read_stored(None if row is None else text_of(row, "readers")) or ()
    return frozenset(each.principal for each in readers if each.principal is not None)


def entry_changes(
    table: str, before: Item | None, after: Item
) -> "dict[str, TransactWriteItemTypeDef]":
    """The changes of these rows that belong to a credential's change from `before` to `after`."""
    project = after["scope"]["S"].removeprefix(PROJECT)
    credential = after["entry"]["S"].removeprefix(PREFIX)
    old, new = named_applications(before), named_applications(after)
    changes: dict[str, TransactWriteItemTypeDef] = {}
    for application in new - old:
        key = reader_key(application, project, credential)
        changes[f"reader {application.text}"] = {"Put": {"TableName": table, "Item": key}}
    for application in old - new:
        key = reader_key(application, project, credential)
        changes[f"reader {application.text}"] = {"Delete": {"TableName": table, "Key": key}}
    return changes
