"""Reads the rows of `RunsTable` with a pending registration, and clears their outbox entries.

The run's own row is the only source of truth. Stream events and the index only name the runs.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from byline.identity.caller import read_principal
from byline.registration.answers import PASSING, ErrorClass
from byline.registration.authorization_service import resource
from byline.registration.outbox import DELETED, PENDING_INDEX, REVOCATION
from byline.registration.principals import Json, PrincipalShape
from byline.tables.rows import ConditionFailed, Item, text_of, write_row
from register_resources.attributes import READ_ATTRIBUTES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        QueryInputTypeDef,
        UpdateTypeDef,
    )


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """Identifies a run, whether it exists in its project or is deleted; or a revocation."""

    project: str
    run: str

    @classmethod
    def of(cls, keys: Item) -> "RunKey":
        """The run whose row or tombstone has these keys."""
        return cls(keys["project"]["S"].removeprefix(DELETED), keys["id"]["S"])

    @property
    def is_revocation(self) -> bool:
        """Whether this is the key of a revocation. No project's name has a `#`."""
        return self.project.startswith(REVOCATION)


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A row with an outbox entry: a run to be registered, or a deleted run to be deregistered.

    `person`: the person that the owner, a service account, acts for; None where it acts for itself,
    and where the person only came from the parent run.
    """

    key: RunKey
    is_deleted: bool
    owner: Json
    person: Json | None
    parent: Json | None
    kept_until: "AttributeValueTypeDef | None" = None
    """When a tombstone is to expire, once it is deregistered; None for never."""

    @property
    def task(self) -> Json:
        """The run in the service's own format."""
        return resource("task", self.key.run)

    @property
    def keys(self) -> Item:
        """The keys of the row: of the run's own row, or of its tombstone."""
        project = DELETED + self.key.project if self.is_deleted else self.key.project
        return {"project": {"S": project}, "id": {"S": self.key.run}}


@dataclass(frozen=True, slots=True)
class PendingRevocation:
    """A grant to be revoked from `since`, RFC 3339: the person's use of a service account.

    `request`: the request that wrote the row.
    """

    key: RunKey
    since: str
    person: Json
    service_account: Json
    request: str

    @property
    def keys(self) -> Item:
        """The keys of the row."""
        return {"project": {"S": self.key.project}, "id": {"S": self.key.run}}


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A pending row as the index lists it: pending `since`, RFC 3339, and its latest error."""

    key: RunKey
    since: str
    error: str

    @property
    def is_refused(self) -> bool:
        """Whether the service refused the latest delivery, so that a retry would not help."""
        return bool(self.error) and self.error not in PASSING


class PendingRegistrations:
    """The pending rows of one table. `shape`: how principals are sent to the service."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        shape: PrincipalShape,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._shape = shape
        self._sleep = sleep

    def read(self, key: RunKey) -> PendingRow | None:
        """The run's row as it is now; None if the run has no pending registration.

        A deletion moves the row in one transaction. So a run that is absent from its project, and
        then absent from the tombstones, does not exist.
        """
        for project in (key.project, DELETED + key.project):
            item = self._get(project, key.run)
            if item is not None:
                return self._row(key, item, is_deleted=project != key.project)
        return None

    def read_revocation(self, key: RunKey) -> PendingRevocation | None:
        """The revocation's row as it is now; None if it is not pending."""
        item = self._get(key.project, key.run)
        if item is None or "unregistered" not in item:
            return None
        return PendingRevocation(
            key,
            since=item["unregistered_since"]["S"],
            person=self._principal(item["person"]["S"]),
            service_account=resource("api_key", key.project.removeprefix(REVOCATION)),
            request=item["last_request"]["S"],
        )

    def list_shard(self, shard: str, *, now: str) -> Iterator[IndexEntry]:
        """The entries of one shard of the index that are pending at `now`, oldest first.

        The index is eventually consistent with the rows.
        """
        query: QueryInputTypeDef = {
            "TableName": self._table,
            "IndexName": PENDING_INDEX,
            "KeyConditionExpression": "unregistered = :shard AND unregistered_since <= :now",
            "ExpressionAttributeValues": {":shard": {"S": shard}, ":now": {"S": now}},
        }
        while True:
            page = self._client.query(**query)
            for item in page["Items"]:
                error = text_of(item, "registration_error") or ""
                yield IndexEntry(RunKey.of(item), item["unregistered_since"]["S"], error)
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def clear(self, row: PendingRow, *, at: str) -> bool:
        """Clear the outbox entry of `row`, which the service has known since `at`, RFC 3339.

        False if the row has no outbox entry any more, or is gone.
        """
        return self._update(clearing(self._table, row, at=at))

    def note_error(self, row: PendingRow | PendingRevocation, error: ErrorClass) -> bool:
        """Write the class of the latest error into `row`.

        False if the row has no outbox entry any more, or is gone.
        """
        return self._update(
            {
                "TableName": self._table,
                "Key": row.keys,
                "UpdateExpression": "SET registration_error = :error",
                "ConditionExpression": "attribute_exists(unregistered)",
                "ExpressionAttributeValues": {":error": {"S": error}},
            }
        )

    def _get(self, project: str, run: str) -> Item | None:
        answer = self._client.get_item(
            TableName=self._table,
            Key={"project": {"S": project}, "id": {"S": run}},
            # Some of the names are reserved words of DynamoDB.
            ProjectionExpression=", ".join(f"#{name}" for name in READ_ATTRIBUTES),
            ExpressionAttributeNames={f"#{name}": name for name in READ_ATTRIBUTES},
            ConsistentRead=True,
        )
        return answer.get("Item")

    def _row(self, key: RunKey, item: Item, *, is_deleted: bool) -> PendingRow | None:
        if "unregistered" not in item:
            return None
        agent = text_of(item, "agent")
        # A child run's person may have lost every right since, so it is granted nothing.
        person = None if "person_inherited" in item else text_of(item, "person")
        return PendingRow(
            key,
            is_deleted,
            owner=self._owner(item),
            person=None if person is None else self._principal(person),
            parent=None if agent is None else resource("agent", agent),
            kept_until=item.get("kept_until"),
        )

    def _owner(self, item: Item) -> Json:
        """The creator of a run. With AnonymousCallers=allow a run may have none."""
        issuer = text_of(item, "creator_issuer") or ""
        if user := text_of(item, "creator_user_id"):
            return self._shape("user", subject=user, issuer=issuer)
        if service_account := text_of(item, "creator_service_account_id"):
            return self._shape("application", subject=service_account, issuer=issuer)
        return self._shape("anonymous")

    def _principal(self, text: str) -> Json:
        principal = read_principal(text)
        return self._shape(principal.kind, subject=principal.subject, issuer=principal.issuer)

    def _update(self, update: "UpdateTypeDef") -> bool:
        try:
            write_row(
                self._client,
                lambda: self._client.update_item(**cast(Any, update)),
                sleep=self._sleep,
            )
        except ConditionFailed:
            return False
        return True


def clearing(table: str, row: PendingRow | PendingRevocation, *, at: str) -> "UpdateTypeDef":
    """The update that clears the outbox entry of `row`, which the service has confirmed `at`."""
    values: Item = {":at": {"S": at}}
    expiry = ""
    condition = "attribute_exists(unregistered)"
    match row:
        case PendingRevocation(request=request):
            column = "revoked_at"
            condition += " AND last_request = :seen"
            values[":seen"] = {"S": request}
        case PendingRow(is_deleted=is_deleted, kept_until=kept_until):
            column = "deregistered_at" if is_deleted else "registered_at"
            if kept_until is not None:
                expiry = ", expires_at = :until"
                values[":until"] = kept_until
    return {
        "TableName": table,
        "Key": row.keys,
        "UpdateExpression": (
            f"SET {column} = :at{expiry}"
            " REMOVE unregistered, unregistered_since, registration_error"
        ),
        "ConditionExpression": condition,
        "ExpressionAttributeValues": values,
    }
