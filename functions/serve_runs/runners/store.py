"""Reading and registering runners. Every write is conditional, and harmless when it runs twice.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from byline.caching import Clock
from byline.refresh.runner_rows import (
    RunnerRow,
    client_key,
    minimum_generation_key,
    read_runner,
    runner_item,
    runner_key,
)
from byline.tables.items import Item
from serve_runs.access.context import Act
from serve_runs.audit.records import AuditTrail, Resource
from serve_runs.runners.changes import deleted, new_runner, registered
from serve_runs.runners.requests import Registration
from serve_runs.transactions import write_together
from serve_runs.web.problems import Problem, not_found, unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 5
"""How often a runner that is changed, refreshed or deleted meanwhile is read anew."""

_STILL = "generation = :generation AND revision = :revision AND due_at = :due"
"""Nobody changed, refreshed, postponed or deleted the runner since it was read."""

_ABOVE_FLOOR = "attribute_not_exists(generation) OR generation < :generation"


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
        registration: Registration,
        *,
        permit: Callable[[RunnerRow | None, RunnerRow | None], None],
    ) -> tuple[RunnerRow, Literal["created", "changed", "unchanged"]]:
        """Register a runner, or change it to what is registered now.

        `permit` is shown what is there and what it is to become, before that is written, and raises
        where it may not: so what was permitted is what happens, whoever changes it meanwhile.
        """
        resource = Resource(registration.project, "runner", registration.runner)
        record = self._audit.record(registration.act, "register_runner", resource)
        for _ in range(ATTEMPTS):
            before = self.find(registration.project, registration.runner)
            if before is None:
                permit(None, None)
                floor = self._floor(registration)
                after = new_runner(registration, above=floor, now=self._now())
                self._close_breaker(after)
                if self._create(after, record):
                    return after, "created"
                continue
            after = registered(before, registration, now=self._now())
            permit(before, after)
            if after.generation != before.generation:
                self._close_breaker(after)
            is_changed = after.revision == registration.act.request_id
            # One that is only tried again the sooner is what it was: nothing is recorded.
            if after == before or self._replace(before, after, [record] if is_changed else []):
                return after, "changed" if is_changed else "unchanged"
        raise _contended()

    def find(self, project: str, runner: str) -> RunnerRow | None:
        """One runner, None where there is none. Raises `UnreadableRow`."""
        item = self._read(runner_key(project, runner))
        return None if item is None else read_runner(item)

    def get(self, project: str, runner: str) -> RunnerRow:
        """One runner. Raises `Problem` 404."""
        row = self.find(project, runner)
        if row is None:
            raise not_found()
        return row

    def delete(self, project: str, runner: str, *, act: Act) -> RunnerRow:
        """Delete a runner; its row, with who did it, stays until its secrets are swept.

        Returns that row. Raises `Problem` 404.
        """
        record = self._audit.record(act, "delete_runner", Resource(project, "runner", runner))
        for _ in range(ATTEMPTS):
            row = self.get(project, runner)
            buried = deleted(row, act=act, now=self._now())
            if self._bury(row, buried, record):
                return buried
        raise _contended()

    def _create(self, row: RunnerRow, record: "TransactWriteItemTypeDef") -> bool:
        """Whether the row was put where there was none.

        A transaction, because DynamoDB does one of the same token once: a put that botocore sends
        again could bring a runner back that was deleted in between.
        """
        return self._write(
            {
                "Put": {
                    "TableName": self._table,
                    "Item": runner_item(row),
                    "ConditionExpression": "attribute_not_exists(runner)",
                }
            },
            {
                "ConditionCheck": {
                    "TableName": self._table,
                    "Key": minimum_generation_key(row.project, row.runner),
                    "ConditionExpression": _ABOVE_FLOOR,
                    "ExpressionAttributeValues": {":generation": {"N": str(row.generation)}},
                }
            },
            record,
        )

    def _replace(
        self, before: RunnerRow, after: RunnerRow, records: "list[TransactWriteItemTypeDef]"
    ) -> bool:
        """Whether `after` stands in the place of `before`."""
        return self._write(
            {
                "Put": {
                    "TableName": self._table,
                    "Item": runner_item(after),
                    "ConditionExpression": _STILL,
                    "ExpressionAttributeValues": _state(before),
                }
            },
            *records,
        )

    def _bury(self, row: RunnerRow, buried: RunnerRow, record: "TransactWriteItemTypeDef") -> bool:
        generation = {"N": str(row.generation)}
        floor = minimum_generation_key(row.project, row.runner) | {
            "generation": generation,
            "ttl": {"N": str(buried.ttl)},
        }
        return self._write(
            {
                "Delete": {
                    "TableName": self._table,
                    "Key": row.key,
                    "ConditionExpression": _STILL,
                    "ExpressionAttributeValues": _state(row),
                }
            },
            {
                "Put": {
                    "TableName": self._table,
                    "Item": runner_item(buried),
                    "ConditionExpression": "attribute_not_exists(runner)",
                }
            },
            {
                "Put": {
                    "TableName": self._table,
                    "Item": floor,
                    "ConditionExpression": _ABOVE_FLOOR,
                    "ExpressionAttributeValues": {":generation": generation},
                }
            },
            record,
        )

    def _write(self, *actions: "TransactWriteItemTypeDef") -> bool:
        """Whether all of `actions` were done; none where a condition does not hold any more."""
        try:
            return write_together(self._client, [*actions]) is None
        except self._client.exceptions.TransactionCanceledException as error:
            reasons = error.response["CancellationReasons"]
            if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                return False
            raise

    def _floor(self, registration: Registration) -> int:
        item = self._read(minimum_generation_key(registration.project, registration.runner))
        return 0 if item is None else int(item["generation"]["N"])

    def _close_breaker(self, row: RunnerRow) -> None:
        """Let a client that its issuer refused be tried again: it may have been mended there.

        One that was told to wait still waits. Done before the runner is written: should the writing
        fail, the breaker opens again by itself, while a request that is repeated after the writing
        would find nothing changed and leave it open.
        """
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.delete_item(
                TableName=self._table,
                Key=client_key(row.project, row.client),
                ConditionExpression="attribute_exists(broken_version)",
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


def _contended() -> Problem:
    return unavailable("store_unavailable", "Other requests are changing the same runner.")
