"""The projects of a principal, and what is stored of a project itself.

The rows that give a principal roles say in which projects it has any. A query of the index
`by-holder` finds those of role bindings; an application's registrations and permissions are in its
own partition. So no list of projects exists, and nothing is scanned.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from byline.caching import Clock
from byline.identity.caller import Principal, principal_of
from byline.tables.rows import (
    ConditionFailed,
    Item,
    read_rows,
    rfc3339,
    write_row,
    write_together,
)
from serve_runs.access.control import roles_key
from serve_runs.access.projects import project_key
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.errors import RequestFailed
from serve_runs.people.holdings import Holdings
from serve_runs.people.places import Holding, Kind, Place

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

OWN: tuple[Kind, ...] = ("roles", "registrations")
"""The rows by which a caller has roles with its own token."""

STATE = ("deletion_began_at", "deleted_at", "created_at", "rights_ended_at", "rights_given")
"""The columns of a project's row that must not change from the last list to the tombstone."""

AS_AGENT: tuple[Kind, ...] = ("agent_permissions",)
"""The kinds of rows by which an agent has roles with a token that names a person."""


class HeldProject(NamedTuple):
    """A project in which a principal has roles. `roles`: of a role binding, empty without one."""

    name: str
    roles: frozenset[str]


class ProjectStore:
    """The projects' rows in `AccessTable`."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        holdings: Holdings,
        audit: AuditTrail,
        now: Clock,
    ) -> None:
        self._client = client
        self._table = table
        self._holdings = holdings
        self._audit = audit
        self._now = now

    def held_by(
        self, principal: Principal, *, is_agent: bool, limit: int, after: Place | None
    ) -> tuple[list[HeldProject], Place | None]:
        """Up to `limit` projects of a principal, and the place to go on after if there may be more.

        A page that is not the last may be short. Raises `RequestFailed` and `RowsUnread`.
        """
        kinds = AS_AGENT if is_agent else OWN
        found, last = self._holdings.page(principal, limit=limit, after=after, kinds=kinds)
        held = {project: roles for project, roles in map(_held, found) if roles}
        # A project with a role binding is listed by that, also on another page.
        others = [project for project, roles in map(_held, found) if project not in held]
        with_binding = set() if is_agent else self._bound(principal, others)
        held |= {project: frozenset() for project in others if project not in with_binding}
        return [HeldProject(name, roles) for name, roles in held.items()], last

    def is_complete(self) -> bool:
        """Whether the list has the role bindings that earlier versions wrote."""
        return self._holdings.are_complete()

    def rows_of(self, projects: Sequence[str]) -> dict[str, Item]:
        """The own rows of these projects, by name. Raises `RowsUnread`."""
        keys = {project_key(project)["scope"]["S"]: project for project in projects}
        rows = read_rows(self._client, self._table, list(map(project_key, projects))).complete()
        return {keys[row["scope"]["S"]]: row for row in rows}

    def begin_deletion(self, project: str, *, action: ActionContext) -> Item:
        """Record the deletion once for each principal.

        Returns the project's row, which may be a tombstone already.
        """
        resource = AuditedResource(project, "project", project)
        record = self._audit.record(action, "delete_project", resource)
        deleter = principal_of(action.caller).text
        begin: Any = {
            "TableName": self._table,
            "Key": project_key(project),
            "UpdateExpression": "SET deletion_began_at = if_not_exists(deletion_began_at, :now) "
            "ADD deleters :these",
            "ConditionExpression": "NOT contains(deleters, :one) AND "
            "attribute_not_exists(deleted_at)",
            "ExpressionAttributeValues": {
                ":now": {"S": rfc3339(self._now())},
                ":these": {"SS": [deleter]},
                ":one": {"S": deleter},
            },
        }
        write_together(self._client, {"project": {"Update": begin}, "record": record})
        return self.rows_of([project]).get(project, {})

    def note_ended_rights(self, project: str, row: Item) -> None:
        """Write that a right ends now, before it does: a request of its holder may be under way.

        Raises `RequestFailed` as `require_same`.
        """
        condition = "(attribute_exists(deletion_began_at) OR attribute_exists(deleted_at)) AND "
        values: Item = {":now": {"S": rfc3339(self._now())}}
        if "created_at" in row:
            condition += "created_at = :created_at"
            values[":created_at"] = row["created_at"]
        else:
            condition += "attribute_not_exists(created_at)"
        update: Any = {
            "TableName": self._table,
            "Key": project_key(project),
            "UpdateExpression": "SET rights_ended_at = :now",
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values,
        }
        try:
            write_row(self._client, lambda: self._client.update_item(**update))
        except ConditionFailed:
            raise _made_again() from None

    def require_same(self, project: str, row: Item) -> None:
        """Raise `RequestFailed` (`project_exists`) where the project was made again since `row`."""
        if self.rows_of([project]).get(project, {}).get("created_at") != row.get("created_at"):
            raise _made_again()

    def finish_deletion(
        self,
        project: str,
        row: Item,
        last: "dict[str, TransactWriteItemTypeDef]",
        *,
        action: ActionContext,
    ) -> bool:
        """Make the project's row a tombstone, if it is none, and carry out `last` with it.

        False, with nothing written, where the row has changed since `row` was read.
        """
        columns: Item = {"admins": {"N": "0"}}
        if "deleted_at" not in row:
            columns |= {"deleted_at": {"S": rfc3339(self._now())}, **deleter_of(action)}
        sets = ", ".join(f"{name} = :{name}" for name in columns)
        seen = {name: row[name] for name in STATE if name in row}
        conditions = [
            f"{name} = :seen_{name}" if name in seen else f"attribute_not_exists({name})"
            for name in STATE
        ]
        update: Any = {
            "TableName": self._table,
            "Key": project_key(project),
            "UpdateExpression": f"SET {sets} REMOVE deletion_began_at, rights_ended_at, deleters",
            "ConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeValues": {f":{name}": value for name, value in columns.items()}
            | {f":seen_{name}": value for name, value in seen.items()},
        }
        return not write_together(self._client, {"project": {"Update": update}, **last})

    def is_past(self, at: str, seconds: int) -> bool:
        """Whether `seconds` have passed since the time `at` of a row."""
        return at <= rfc3339(self._now() - seconds)

    def _bound(self, principal: Principal, projects: Sequence[str]) -> set[str]:
        """The projects in which the principal has a role binding."""
        keys = {roles_key(project, principal)["scope"]["S"]: project for project in projects}
        wanted = [roles_key(project, principal) for project in keys.values()]
        rows = read_rows(self._client, self._table, wanted).complete()
        return {keys[row["scope"]["S"]] for row in rows if "roles" in row}


def _held(holding: Holding) -> tuple[str, frozenset[str]]:
    place, row = holding
    if place.kind == "roles":
        return place.project, frozenset(row["roles"]["SS"])
    # The place of a registration of an earlier version does not have its project.
    return row["project"]["S"], frozenset()


def _made_again() -> RequestFailed:
    return RequestFailed(
        "project_exists",
        "Another request created the project again meanwhile. To delete that one, send this again.",
    )


def deleter_of(action: ActionContext) -> Item:
    """The columns of a tombstone that say who deleted the project."""
    texts = {"deleted_by": action.identity, "deleted_by_issuer": action.issuer}
    return {name: {"S": text} for name, text in texts.items() if text is not None}
