"""The row of a project itself in `AccessTable`, which says that the project exists."""

from typing import TYPE_CHECKING

from byline.tables.rows import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


def project_key(project: str) -> Item:
    """The key of a project's own row, which counts its admins."""
    return {"scope": {"S": f"project#{project}"}, "entry": {"S": "project"}}


def keep_project_row(table: str, project: str) -> "TransactWriteItemTypeDef":
    """The action that ensures a project's own row while another of its rows is deleted.

    A project without rows counts as new. The creator of its next run would become its admin, and
    could read its audit trail.
    """
    return {
        "Update": {
            "TableName": table,
            "Key": project_key(project),
            "UpdateExpression": "ADD admins :none",
            "ExpressionAttributeValues": {":none": {"N": "0"}},
        }
    }
