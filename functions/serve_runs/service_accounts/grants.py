"""Grants of service accounts in the organisation's authorization service, where it has one.

A grant precedes the row: without a grant no row is written. A revocation follows the deletion of
the row. RegisterResourcesFunction makes it and repeats it until the service has confirmed.

A request that dies between the grant and the row would leave a grant without a row. So a revocation
is written before the grant. It becomes due after the request has certainly ended, and the row is
written only together with its removal. The revocation of one that ends by itself is written with
its rows instead, and becomes due at its end.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from byline.caching import Clock
from byline.identity.caller import Principal
from byline.registration.answers import PASSING
from byline.registration.authorization_service import (
    AuthorizationService,
    Delivery,
    resource,
)
from byline.registration.outbox import (
    GRANT_OPERATION,
    SETTLE_SECONDS,
    claim_key,
    outbox_entry,
    revocation_key,
)
from byline.registration.principals import PrincipalShape, shape_of
from byline.registration.settings import RegistrationSettings
from byline.tables.rows import ConditionFailed, Item, rfc3339, write_row, write_together
from serve_runs.errors import RequestFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    type TransactActions = Mapping[str, TransactWriteItemTypeDef]

GRANT_SECONDS = 12
"""The longest time for all attempts: the caller waits for the answer."""

REQUEST_SECONDS = 120
"""A request has certainly ended after this time: its function's time limit is shorter."""

INTENT_SECONDS = REQUEST_SECONDS + SETTLE_SECONDS
"""After this time, a grant without a row is revoked. None that was sent can take effect later."""


_CONDITION = ("ConditionExpression", "ExpressionAttributeValues")


class Grants:
    """The grants in `service`. Revocations are rows of `table`, which is `RunsTable`.

    `service` is None where registration is off. Nothing is granted then, but the revocations of
    grants that exist already still follow their service accounts: they count when it is on again.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        service: AuthorizationService | None,
        settings: RegistrationSettings,
        now: Clock = time.time,
    ) -> None:
        self._client = client
        self._table = table
        self._service = service
        self._settings = settings
        self._shape: PrincipalShape = shape_of(settings)
        self._now = now

    def are_on_for(self, project: str) -> bool:
        """Whether service accounts of a project need a grant."""
        return self._settings.is_on_for(project)

    def grant(
        self, person: Principal, account_id: str, *, request_id: str, end: int | None = None
    ) -> "TransactActions":
        """Grant a person the use of a service account, until `end` where it has one.

        Returns the actions to carry out together with the row. Without them the grant is revoked.
        Raises `RequestFailed`: `grant_unavailable`, also while an earlier grant is being revoked;
        `grant_refused` where a retry is useless.
        """
        if self._service is None:
            raise RuntimeError("registration is off, so `are_on_for` no project")
        key = revocation_key(account_id, person=person.text)
        before = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        is_pending = "unregistered" in before.get("Item", {})
        due_at = self._now() + INTENT_SECONDS
        intent = self._put(account_id, person, request_id=request_id, due_at=due_at)
        if write_together(self._client, {"intent": intent, "claim": self._unclaimed(key)}):
            raise RequestFailed("grant_unavailable")
        delivery = self._grant(self._service, person, account_id)
        if delivery.error is not None:
            if delivery.is_certain and not is_pending:
                self._forget(key, request_id)
            raise RequestFailed(
                "grant_unavailable" if delivery.error in PASSING else "grant_refused"
            )
        own: Any = self._own(key, request_id)
        if end is None:
            return {"revocation": {"Delete": own}, "claim": self._unclaimed(key)}
        due: Any = self._put(account_id, person, request_id=request_id, due_at=end)
        due["Put"] |= {name: own[name] for name in _CONDITION}
        return {"revocation": due, "claim": self._unclaimed(key)}

    def end_at(
        self,
        person: Principal,
        account_id: str,
        *,
        request_id: str,
        end: int | None,
        had_end: bool,
    ) -> "TransactActions":
        """The actions that move the end of a grant, together with that of its service account.

        `had_end`: whether its revocation is written already. It must not be under way.
        """
        key = revocation_key(account_id, person=person.text)
        pending = {"ConditionExpression": "attribute_exists(unregistered)"} if had_end else {}
        revocation: Any
        if end is None:
            revocation = {"Delete": {"TableName": self._table, "Key": key} | pending}
        else:
            revocation = self._put(account_id, person, request_id=request_id, due_at=end)
            revocation["Put"] |= pending
        return {"revocation": revocation, "claim": self._unclaimed(key)}

    def revocation(self, row: Item, person: Principal, *, request_id: str) -> "TransactActions":
        """The actions that revoke the grant of a service account, together with its deletion.

        Empty where it has no grant. An earlier version did not write `granted_at`, so it is revoked
        wherever registration is on: that has no effect where the service knows no grant.
        """
        if "granted_at" not in row and not self.are_on_for(row["project"]["S"]):
            return {}
        revocation = self._put(row["id"]["S"], person, request_id=request_id, due_at=self._now())
        return {"revocation": revocation}

    def _grant(self, service: AuthorizationService, person: Principal, account_id: str) -> Delivery:
        return service.grant(
            self._shape("user", subject=person.subject, issuer=person.issuer),
            resource("api_key", account_id),
            operation=GRANT_OPERATION,
            until=self._now() + GRANT_SECONDS,
        )

    def _put(
        self, account_id: str, person: Principal, *, request_id: str, due_at: float
    ) -> "TransactWriteItemTypeDef":
        key = revocation_key(account_id, person=person.text)
        item: Item = {
            **key,
            **outbox_entry(key["id"]["S"], since=rfc3339(due_at)),
            "person": {"S": person.text},
            "last_request": {"S": request_id},
        }
        return {"Put": {"TableName": self._table, "Item": item}}

    def _unclaimed(self, key: Item) -> "TransactWriteItemTypeDef":
        """The check that no revocation with `key` is under way or may still take effect.

        A claim that was not given back belonged to a worker that died during a call.
        """
        now = int(self._now())
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": claim_key(key),
                "ConditionExpression": (
                    "(attribute_not_exists(claimed_until) OR claimed_until <= :settled)"
                    " AND (attribute_not_exists(doubt_until) OR doubt_until <= :now)"
                ),
                "ExpressionAttributeValues": {
                    ":settled": {"N": str(now - SETTLE_SECONDS)},
                    ":now": {"N": str(now)},
                },
            }
        }

    def _own(self, key: Item, request_id: str) -> Any:
        return {
            "TableName": self._table,
            "Key": key,
            "ConditionExpression": "last_request = :me",
            "ExpressionAttributeValues": {":me": {"S": request_id}},
        }

    def _forget(self, key: Item, request_id: str) -> None:
        """Remove the revocation of a grant that was certainly not made."""
        with suppress(ConditionFailed):
            write_row(self._client, lambda: self._client.delete_item(**self._own(key, request_id)))
