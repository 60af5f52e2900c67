"""Reading and writing service accounts. Every write is conditional, and repeating it is harmless.

Each registration has two rows with the same content, written and deleted together. The row by
application limits it to one person in a project; the row by project is for listings.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from byline.caching import Clock
from byline.identity.caller import Principal, read_principal
from byline.tables.paging import Page
from byline.tables.rows import (
    EXPIRES_AT,
    Item,
    is_expired,
    read_rows,
    rfc3339,
    seconds,
    write_together,
)
from serve_runs.access.control import registration_keys
from serve_runs.access.entries import list_entries
from serve_runs.access.projects import (
    give_right,
    keep_project_row,
    project_key,
    require_project,
)
from serve_runs.access.standing import registration_row
from serve_runs.errors import RequestFailed, contended
from serve_runs.service_accounts.requests import id_of
from serve_runs.service_accounts.views import ENTRY, ServiceAccountRegistration, listed_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from serve_runs.service_accounts.grants import Grants, TransactActions

ATTEMPTS = 3
"""How often a service account is read, because it may change before the write."""

ACTS = "acts-"
"""What the sort keys of an application's registrations start with, and no other key of its rows."""

_UNCHANGED = "last_request = :seen"


class ServiceAccountStore:
    """The service accounts of one table. `record`: the record written together with a change."""

    def __init__(self, client: "DynamoDBClient", table: str, *, now: Clock) -> None:
        self._client = client
        self._table = table
        self._now = now

    def register(
        self,
        wanted: ServiceAccountRegistration,
        *,
        grants: "Grants",
        record: "Callable[[str], TransactWriteItemTypeDef]",
    ) -> tuple[Item, Literal["created", "changed", "unchanged"]]:
        """Let a service account act for a person in a project, or change its role, name or end.

        `record` makes the record about the account's id. One that needs a grant of `grants` gets it
        before the write, which may raise. Raises `RequestFailed`: `already_registered` where it
        acts for another person in this project, `not_found` where the project is deleted,
        `store_unavailable` where other requests change it at the same time.
        """
        for _ in range(ATTEMPTS):
            found, now = self._registered(wanted), self._now()
            # An ended registration counts as absent. Its rows are replaced.
            before = None if found is None or is_expired(found, now=now) else found
            if before is not None and before["person"]["S"] != wanted.person.text:
                raise RequestFailed("already_registered")
            at = rfc3339(now)
            created_at = at if before is None else before["created_at"]["S"]
            new_id = id_of(wanted.application, wanted.project)
            account_id = new_id if found is None else found["id"]["S"]
            row = wanted.item(account_id, created_at=created_at, updated_at=at)
            more, granted_at = self._granted(wanted, before, account_id, grants=grants)
            is_changed = before is None or _content(before) != _content(row)
            if before is not None and not is_changed and not more:
                return before, "unchanged"
            if granted_at is not None:
                row["granted_at"] = granted_at
            actions = {"record": record(account_id), **more}
            if self._put(row, actions, before=before, now=now):
                if before is None:
                    return row, "created"
                return row, "changed" if is_changed else "unchanged"
        raise contended("service account")

    def find(self, project: str, account_id: str) -> Item | None:
        """A project's service account, None where it does not exist or has ended."""
        key = listed_key(project, account_id)
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        row = answer.get("Item")
        return None if row is None or is_expired(row, now=self._now()) else row

    def delete(
        self, row: Item, *, record: "TransactWriteItemTypeDef", revocation: "TransactActions"
    ) -> bool:
        """Delete both rows; False, with none deleted, where they changed since `row` was read."""

        def delete(key: Item) -> "TransactWriteItemTypeDef":
            return {
                "Delete": {
                    "TableName": self._table,
                    "Key": key,
                    "ConditionExpression": _UNCHANGED,
                    "ExpressionAttributeValues": {":seen": row["last_request"]},
                }
            }

        by_application, by_project = _keys(row)
        return not write_together(
            self._client,
            {
                "by application": delete(by_application),
                "by project": delete(by_project),
                "project": keep_project_row(self._table, row["project"]["S"]),
                "record": record,
                **revocation,
            },
        )

    def list_of(self, project: str, *, limit: int, after: str | None) -> Page:
        """Up to `limit` service accounts of a project, by id, and the last id if more follow."""
        scope = project_key(project)["scope"]["S"]
        return self._list(scope, ENTRY, limit=limit, after=after)

    def list_registrations(self, application: Principal, *, limit: int, after: str | None) -> Page:
        """Up to `limit` registrations of an application in all projects, by project.

        Also where to go on if more follow.
        """
        scope = f"principal#{application.text}"
        return self._list(scope, ACTS, limit=limit, after=after)

    def _list(self, scope: str, prefix: str, *, limit: int, after: str | None) -> Page:
        return list_entries(
            self._client,
            self._table,
            scope=scope,
            prefix=prefix,
            limit=limit,
            after=after,
            now=self._now(),
        )

    def _registered(self, wanted: ServiceAccountRegistration) -> Item | None:
        """The row by application of a registration in the project, also of one that has ended."""
        keys = registration_keys(wanted.application, [wanted.project])
        rows = read_rows(self._client, self._table, keys).complete()
        return registration_row({row["entry"]["S"]: row for row in rows}, wanted.project)

    def _granted(
        self,
        wanted: ServiceAccountRegistration,
        before: Item | None,
        account_id: str,
        *,
        grants: "Grants",
    ) -> "tuple[TransactActions, Any]":
        """What to write with the rows so that the grant lasts as long as they; when it was granted.

        Empty and None where no grant is needed.
        """
        granted_at = None if before is None else before.get("granted_at")
        person, request_id = wanted.person, wanted.request_id
        if granted_at is None:
            if not grants.are_on_for(wanted.project):
                return {}, None
            more = grants.grant(person, account_id, request_id=request_id, end=wanted.end)
            return more, {"S": rfc3339(self._now())}
        if before is not None and _end(before) != wanted.end:
            old = _end(before)
            more = grants.end_at(
                person, account_id, request_id=request_id, end=wanted.end, had_end=old is not None
            )
            return more, granted_at
        return {}, granted_at

    def _put(self, row: Item, more: "TransactActions", *, before: Item | None, now: float) -> bool:
        """Write both rows and carry out `more`; False, with none written, where that fails.

        Rows that have ended are replaced. DynamoDB deletes each of them when it likes.
        """
        condition: Any = {
            "ConditionExpression": "attribute_not_exists(entry) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": seconds(now)},
        }
        if before is not None:
            condition = {
                "ConditionExpression": _UNCHANGED,
                "ExpressionAttributeValues": {":seen": before["last_request"]},
            }

        def put(key: Item) -> "TransactWriteItemTypeDef":
            request: Any = {"TableName": self._table, "Item": row | key}
            return {"Put": request | condition}

        by_application, by_project = _keys(row)
        actions = {
            "by application": put(by_application),
            "by project": put(by_project | {"holder": row["person"]}),
            "project": give_right(self._table, row["project"]["S"]),
            **more,
        }
        refused = write_together(self._client, actions)
        require_project(refused)
        return not refused


def _keys(row: Item) -> tuple[Item, Item]:
    """The keys of the rows by application and by project, of any version."""
    application, project = read_principal(row["principal"]["S"]), row["project"]["S"]
    new, old = registration_keys(application, [project])
    is_new = row["id"]["S"] == id_of(application, project)
    return new if is_new else old, listed_key(project, row["id"]["S"])


def _content(row: Item) -> tuple[Any, ...]:
    return row["role"], row["name"], _end(row)


def _end(row: Item) -> int | None:
    return int(row[EXPIRES_AT]["N"]) if EXPIRES_AT in row else None
