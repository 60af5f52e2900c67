"""The row of a project itself in `AccessTable`, which says that the project exists."""

from typing import TYPE_CHECKING

from byline.tables.rows import Item, Refused
from serve_runs.errors import RequestFailed

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


def give_right(table: str, project: str, *, admins: int = 0) -> "TransactWriteItemTypeDef":
    """The action that belongs to each new or changed right in a project, which may have ended.

    It counts `admins` more, and the right itself: a project is deleted only if no right was given
    since its rights were listed. Its condition fails where the project is deleted.
    """
    return {
        "Update": {
            "TableName": table,
            "Key": project_key(project),
            "UpdateExpression": "ADD admins :admins, rights_given :one",
            "ConditionExpression": "attribute_not_exists(deleted_at)",
            "ExpressionAttributeValues": {":admins": {"N": str(admins)}, ":one": {"N": "1"}},
        }
    }


def require_project(refused: Refused) -> None:
    """Raise `RequestFailed` (`not_found`) where the action "project" of `give_right` failed."""
    if "project" in refused:
        raise RequestFailed(
            "not_found",
            "This project is deleted. A principal in `ProjectAdmins` may create it again.",
        )
