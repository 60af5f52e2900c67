"""Reading and writing runs. Every write is conditional, and running it twice is harmless.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from byline.caching import Clock
from byline.tables.rows import Item, expiry, is_expired, rfc3339, write_together
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.errors import RequestFailed, contended, not_found
from serve_runs.idempotency import RememberedKey, digest
from serve_runs.runs.requests import CreateRun, EndRun
from serve_runs.runs.states import LIVE, Transition
from serve_runs.runs.views import (
    actor_attributes,
    end_attributes,
    heartbeat_attributes,
    kept_project,
    live_partition,
    new_item,
    put_once,
    run_key,
    tombstone_of,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

    from byline.registration.outbox import Outbox

READS_BEFORE_WRITING = 3
"""How often a run is read, because another request may change it before the write."""

UNCHANGED = "last_request = :seen"
"""The condition that a run is unchanged since it was read: every write stores its request id."""


class ClaimRefused(Exception):
    """Another request claimed the new project first. Nothing was written."""


class RunStore:
    """The runs of one table. Every change is written together with its record in `audit`.

    `new_id` makes a ULID. `outbox` makes the entry of a run that waits for its registration with
    the authorization service; None where registration is off. `retention_days`: how long a run is
    kept after it has ended, and the tombstone of a deleted one; 0 for ever.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        audit: AuditTrail,
        now: Clock,
        new_id: Callable[[], object],
        outbox: "Outbox | None" = None,
        retention_days: int = 0,
    ) -> None:
        self._client = client
        self._table = table
        self._audit = audit
        self._now = now
        self._new_id = new_id
        self._outbox = outbox
        self._retention_days = retention_days
        self._kept_projects: set[str] = set()

    def create(
        self,
        body: CreateRun,
        *,
        project: str,
        action: ActionContext,
        key: str | None = None,
        claim: "Mapping[str, TransactWriteItemTypeDef] | None" = None,
    ) -> tuple[Item, Literal["created", "repeated"]]:
        """Create a run, or find the run that `key` created: by the same caller, in this project.

        `claim`: the actions that claim a new project, carried out together with the run or not at
        all. Raises `ClaimRefused`, and `RequestFailed`: `idempotency_conflict` for another body,
        `run_deleted` where the run of the key was deleted since.
        """
        now = self._now()
        item = new_item(body, project=project, run_id=str(self._new_id()), action=action, at=now)
        if self._outbox is not None:
            item |= self._outbox.of_new_run(item, since=rfc3339(now))
        resource = AuditedResource(project, "run", item["id"]["S"])
        actions: dict[str, TransactWriteItemTypeDef] = {}
        remembered = None if key is None else _remembered_key(key, body, project, action)
        if remembered is not None:
            actions["key"] = remembered.put(self._table, {"run": item["id"]}, now=now)
        actions["run"] = {"Put": put_once(self._table, item)}
        actions["record"] = self._audit.record(action, "create_run", resource)
        refused = write_together(self._client, actions | dict(claim or {}))
        if not refused:
            return item, "created"
        if remembered is not None and "key" in refused:
            return self._created_by(remembered, refused["key"], project), "repeated"
        if claim and not refused.keys().isdisjoint(claim):
            raise ClaimRefused
        raise RuntimeError(f"conditions of a new run do not hold: {', '.join(refused)}")

    def created_before(
        self, body: CreateRun, *, project: str, action: ActionContext, key: str
    ) -> Item | None:
        """The run that `key` created, None where it created none. Raises as `create`."""
        remembered = _remembered_key(key, body, project, action)
        found = self.find(remembered.partition, remembered.id)
        return None if found is None else self._created_by(remembered, found, project)

    def find(self, project: str, run_id: str) -> Item | None:
        """A run, None where it does not exist or has expired."""
        answer = self._client.get_item(
            TableName=self._table, Key=run_key(project, run_id), ConsistentRead=True
        )
        item = answer.get("Item")
        return None if item is None or is_expired(item, now=self._now()) else item

    def get(self, project: str, run_id: str) -> Item:
        """A run. Raises `RequestFailed` (`not_found`)."""
        item = self.find(project, run_id)
        if item is None:
            raise not_found()
        return item

    def change(
        self,
        project: str,
        run_id: str,
        *,
        transition: Transition,
        action: ActionContext,
        end: EndRun | None = None,
    ) -> Item:
        """Change a run's state, and record the caller. A run that ends leaves the indexes of live
        runs. `end`: how it ended.

        Raises `RequestFailed`: `not_found`; `wrong_state`, with the current state.
        """
        now = self._now()
        changes: Item = {
            "status": {"S": transition.after},
            "updated_at": {"S": rfc3339(now)},
            "last_request": {"S": action.request_id},
        }
        is_over = transition.after not in LIVE
        if is_over:
            changes |= expiry(self._retention_days, now=now)
        else:
            changes["live"] = {"S": live_partition(project, transition.after)}
        details = end_attributes(end)
        if transition.actor is not None:
            changes |= actor_attributes(transition.actor, action)
        changes |= details
        resource = AuditedResource(project, "run", run_id)
        record = self._audit.record(action, transition.action, resource, details=details)
        for _ in range(READS_BEFORE_WRITING):
            run = self.get(project, run_id)
            state = run["status"]["S"]
            if state not in transition.before:
                raise RequestFailed(
                    "wrong_state",
                    f"Cannot {transition.name} a run that is {state}.",
                    members={"current_status": state},
                )
            if transition.name == "start" and "runner" not in run and action.is_own_of_application:
                changes["executor"] = {"S": action.principal}
            if is_over:
                self._keep_project(project)
            else:
                changes |= heartbeat_attributes(run, at=now)
            update: UpdateTypeDef = {
                "TableName": self._table,
                "Key": run_key(project, run_id),
                "UpdateExpression": (
                    f"SET {', '.join(f'#{name} = :{name}' for name in changes)}"
                    + (" REMOVE live, live_for, heartbeat_shard, heartbeat_due" if is_over else "")
                ),
                "ConditionExpression": UNCHANGED,
                # `status` is a reserved word of DynamoDB.
                "ExpressionAttributeNames": {f"#{name}": name for name in changes},
                "ExpressionAttributeValues": {
                    ":seen": run["last_request"],
                    **{f":{name}": value for name, value in changes.items()},
                },
            }
            if not write_together(self._client, {"run": {"Update": update}, "record": record}):
                return run | changes
        raise contended("run")

    def delete(self, project: str, run_id: str, *, action: ActionContext) -> None:
        """Delete a run. Its row becomes a tombstone with the caller, which no route shows.

        Raises `RequestFailed` (`not_found`).
        """
        now = self._now()
        record = self._audit.record(action, "delete_run", AuditedResource(project, "run", run_id))
        for _ in range(READS_BEFORE_WRITING):
            run = self.get(project, run_id)
            self._keep_project(project)
            tombstone = tombstone_of(
                run,
                action=action,
                at=now,
                outbox=self._outbox_entry(run, now),
                expires=expiry(self._retention_days, now=now),
            )
            refused = write_together(
                self._client,
                {
                    "run": {
                        "Delete": {
                            "TableName": self._table,
                            "Key": run_key(project, run_id),
                            "ConditionExpression": UNCHANGED,
                            "ExpressionAttributeValues": {":seen": run["last_request"]},
                        }
                    },
                    "tombstone": {
                        "Put": {
                            "TableName": self._table,
                            "Item": tombstone,
                            "ConditionExpression": "attribute_not_exists(id)",
                        }
                    },
                    "record": record,
                },
            )
            if not refused:
                return
        raise contended("run")

    def _keep_project(self, project: str) -> None:
        """Write the row that lets the project exist when all its runs have expired.

        Otherwise `NewProjects` could give it to somebody else, with its clients' secrets.
        """
        if self._retention_days and project not in self._kept_projects:
            self._client.put_item(TableName=self._table, Item=kept_project(project))
            self._kept_projects.add(project)

    def _outbox_entry(self, run: Item, now: float) -> Item:
        if self._outbox is not None:
            return self._outbox.of_deleted_run(run, since=rfc3339(now))
        if "registered_at" not in run:
            return {}
        # Registration is off, but the service knows the run. The entry counts when it is on again.
        from byline.registration.outbox import outbox_entry  # noqa: PLC0415

        return outbox_entry(run["id"]["S"], since=rfc3339(now))

    def _created_by(self, key: RememberedKey, found: Item, project: str) -> Item:
        key.require_same_body(found)
        run = self.find(project, found["run"]["S"])
        if run is None:
            raise RequestFailed("run_deleted")
        return run


def _remembered_key(
    key: str, body: CreateRun, project: str, action: ActionContext
) -> RememberedKey:
    return RememberedKey(
        f"idempotency#{project}",
        digest(*action.key_owners, key),
        # Encoded anew, so that white space and the order of members do not matter.
        digest(msgspec.json.encode(body, order="sorted").decode()),
    )
