"""Reading and registering runners. Every write is conditional, and running it twice is harmless.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from byline.caching import Clock
from byline.refresh.runner_rows import (
    DELETED_LIFETIME_SECONDS,
    RunnerRow,
    client_key,
    minimum_generation_key,
    read_runner,
    runner_item,
    runner_key,
)
from byline.tables.rows import ConditionFailed, Item, write_row, write_together
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.errors import contended, not_found
from serve_runs.runners.changes import RESTART_SPACING_SECONDS, deleted, new_runner, registered
from serve_runs.runners.requests import RunnerRegistration

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 5
"""How often a runner is read, because it may change before the write."""

_UNCHANGED = "generation = :generation AND revision = :revision AND due_at = :due"
"""The condition that a runner's registration, token and due time are unchanged since its read."""

_ABOVE_MINIMUM = "attribute_not_exists(generation) OR generation < :generation"


class RunnerStore:
    """The runners of one table. Every change is written together with its record in `audit`."""

    def __init__(
        self, client: "DynamoDBClient", table: str, *, audit: AuditTrail, now: Clock
    ) -> None:
        self._client = client
        self._table = table
        self._audit = audit
        self._now = now

    def register(
        self,
        registration: RunnerRegistration,
        *,
        permit: Callable[[RunnerRow | None, RunnerRow | None], None],
    ) -> tuple[RunnerRow, Literal["created", "changed", "unchanged"]]:
        """Register a runner, or change its registration.

        `permit` is called before each write, with the rows before and after it. It raises where the
        caller may not make the change. So only a permitted change is written, even if other
        requests change the runner at the same time.
        """
        resource = AuditedResource(registration.project, "runner", registration.runner)
        record = self._audit.record(registration.action, "register_runner", resource)
        for _ in range(ATTEMPTS):
            before = self.find(registration.project, registration.runner)
            if before is None:
                permit(None, None)
                minimum = self._minimum_generation(registration)
                after = new_runner(registration, above=minimum, now=self._now())
                self._close_breaker(after)
                if self._create(after, record):
                    return after, "created"
                continue
            after = registered(before, registration, now=self._now())
            permit(before, after)
            if after.generation != before.generation:
                self._close_breaker(after)
            elif before.last_error is not None:
                self._shorten_wait(after)
            is_changed = after.revision == registration.action.request_id
            # A restart, which only makes the runner due sooner, has no audit record.
            records = {"record": record} if is_changed else {}
            if after == before or self._replace(before, after, records):
                return after, "changed" if is_changed else "unchanged"
        raise contended("runner")

    def find(self, project: str, runner: str) -> RunnerRow | None:
        """A runner, None where it does not exist. Raises `UnreadableRow`."""
        item = self._read(runner_key(project, runner))
        return None if item is None else read_runner(item)

    def get(self, project: str, runner: str) -> RunnerRow:
        """A runner. Raises `RequestFailed` (`not_found`), and `UnreadableRow`."""
        row = self.find(project, runner)
        if row is None:
            raise not_found()
        return row

    def delete(self, project: str, runner: str, *, action: ActionContext) -> RunnerRow:
        """Delete a runner. Returns its tombstone, which stays until its secrets are deleted.

        Raises `RequestFailed` (`not_found`).
        """
        resource = AuditedResource(project, "runner", runner)
        record = self._audit.record(action, "delete_runner", resource)
        for _ in range(ATTEMPTS):
            row = self.get(project, runner)
            tombstone = deleted(row, action=action, now=self._now())
            if self._delete(row, tombstone, record):
                return tombstone
        raise contended("runner")

    def _create(self, row: RunnerRow, record: "TransactWriteItemTypeDef") -> bool:
        """Create a runner's row; False where one exists, or its generation is too low.

        DynamoDB carries a transaction out once, even if botocore sends it again. A repeated put
        could restore a runner that was deleted in between.
        """
        return self._write(
            {
                "runner": {
                    "Put": {
                        "TableName": self._table,
                        "Item": runner_item(row),
                        "ConditionExpression": "attribute_not_exists(runner)",
                    }
                },
                "minimum generation": {
                    "ConditionCheck": {
                        "TableName": self._table,
                        "Key": minimum_generation_key(row.project, row.runner),
                        "ConditionExpression": _ABOVE_MINIMUM,
                        "ExpressionAttributeValues": {":generation": {"N": str(row.generation)}},
                    }
                },
                "record": record,
            }
        )

    def _replace(
        self,
        before: RunnerRow,
        after: RunnerRow,
        records: "dict[str, TransactWriteItemTypeDef]",
    ) -> bool:
        """Replace `before` by `after`; False where another request has changed the row."""
        put: TransactWriteItemTypeDef = {
            "Put": {
                "TableName": self._table,
                "Item": runner_item(after),
                "ConditionExpression": _UNCHANGED,
                "ExpressionAttributeValues": _state(before),
            }
        }
        return self._write({"runner": put, **records})

    def _delete(
        self, row: RunnerRow, tombstone: RunnerRow, record: "TransactWriteItemTypeDef"
    ) -> bool:
        generation = {"N": str(row.generation)}
        minimum = minimum_generation_key(row.project, row.runner) | {
            "generation": generation,
            "ttl": {"N": str((tombstone.deleted_at or 0) + DELETED_LIFETIME_SECONDS)},
        }
        return self._write(
            {
                "runner": {
                    "Delete": {
                        "TableName": self._table,
                        "Key": row.key,
                        "ConditionExpression": _UNCHANGED,
                        "ExpressionAttributeValues": _state(row),
                    }
                },
                "tombstone": {
                    "Put": {
                        "TableName": self._table,
                        "Item": runner_item(tombstone),
                        "ConditionExpression": "attribute_not_exists(runner)",
                    }
                },
                "minimum generation": {
                    "Put": {
                        "TableName": self._table,
                        "Item": minimum,
                        "ConditionExpression": _ABOVE_MINIMUM,
                        "ExpressionAttributeValues": {":generation": generation},
                    }
                },
                "record": record,
            }
        )

    def _write(self, actions: "dict[str, TransactWriteItemTypeDef]") -> bool:
        """Carry out all `actions`; False, with none carried out, where a condition fails."""
        return not write_together(self._client, actions)

    def _minimum_generation(self, registration: RunnerRegistration) -> int:
        item = self._read(minimum_generation_key(registration.project, registration.runner))
        return 0 if item is None else int(item["generation"]["N"])

    def _close_breaker(self, row: RunnerRow) -> None:
        """End the wait of an OAuth client that its issuer refused or asked to wait.

        So it is tried again. The wait ends before the runner is written, and begins again at the
        next failure. After the write, a repeated request would find an unchanged runner.
        """
        with suppress(ConditionFailed):
            write_row(
                self._client,
                lambda: self._client.delete_item(
                    TableName=self._table,
                    Key=client_key(row.project, row.client),
                    ConditionExpression="attribute_exists(broken_version) OR retry_at > :now",
                    ExpressionAttributeValues={":now": {"N": str(int(self._now()))}},
                ),
            )

    def _shorten_wait(self, row: RunnerRow) -> None:
        """Let the runner's OAuth client be tried again, a while after its last failure.

        A runner that restarts in a loop must not lock its client. So the wait does not end at once.
        """
        item = self._read(client_key(row.project, row.client)) or {}
        if not {"since", "retry_at", "attempts"} <= item.keys():
            return
        earliest = max(row.try_at or 0, int(item["since"]["N"]) + RESTART_SPACING_SECONDS)
        if "broken_version" not in item and int(item["retry_at"]["N"]) <= earliest:
            return
        shorter = {"asked_version": item.get("broken_version", {"S": ""}), **item}
        shorter.pop("broken_version", None)
        shorter["retry_at"] = {"N": str(earliest)}
        with suppress(ConditionFailed):
            write_row(
                self._client,
                lambda: self._client.put_item(
                    TableName=self._table,
                    Item=shorter,
                    ConditionExpression="since = :since AND attempts = :attempts",
                    ExpressionAttributeValues={
                        ":since": item["since"],
                        ":attempts": item["attempts"],
                    },
                ),
            )

    def _read(self, key: Item) -> Item | None:
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")


def _state(row: RunnerRow) -> Item:
    return {
        ":generation": {"N": str(row.generation)},
        ":revision": {"S": row.revision},
        ":due": {"N": str(row.due_at)},
    }
