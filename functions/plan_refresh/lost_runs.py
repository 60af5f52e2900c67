"""Marks running runs as lost whose heartbeats have stopped.

index `by-heartbeat`, shard by shard → runs whose time is over → for each one transaction of the
mark and its audit record. The mark requires the state and the time that were read, so a heartbeat,
an end of the run or another tick in between wins. A mark that fails stops no other one. A tick that
stops half-way leaves the rest to the next one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from ulid import ULID

from byline.aws import error_name
from byline.heartbeats import HEARTBEAT_INDEX, SHARDS
from byline.tables.rows import Contended, Item, audit_scope, expiry, rfc3339, write_together

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        QueryInputTypeDef,
        TransactWriteItemTypeDef,
    )

SERVICE = "service"
"""The principal of audit records about what Byline does by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRuns:
    """The runs of one table. `audit_retention_days`: how long a record is kept; 0 for ever."""

    client: "DynamoDBClient"
    runs_table: str
    access_table: str
    audit_retention_days: int
    logger: Logger

    def mark(
        self, *, now: float, request_id: str, may_go_on: Callable[[], bool]
    ) -> list[Exception]:
        """Mark the runs whose time is over at `now`. Returns the failures.

        It ends when `may_go_on` says so.
        """
        failures: list[Exception] = []
        for shard in SHARDS:
            if not may_go_on():
                return failures
            try:
                for key in self._silent(shard, now=now):
                    if not may_go_on():
                        return failures
                    try:
                        self._mark(key, now=now, request_id=request_id)
                    except (ClientError, BotoCoreError, Contended) as error:
                        run = f"{key['project']['S']}/{key['id']['S']}"
                        self.logger.error("lost run not marked", run=run, error=error_name(error))
                        failures.append(error)
            except (ClientError, BotoCoreError) as error:
                if _is_about_the_index(error):
                    # A version that adds the index runs before DynamoDB has made and filled it.
                    self.logger.warning("index of heartbeats is not there yet")
                    return failures
                self.logger.error("silent runs not read", shard=shard, error=error_name(error))
                failures.append(error)
        return failures

    def _silent(self, shard: str, *, now: float) -> Iterator[Item]:
        query: QueryInputTypeDef = {
            "TableName": self.runs_table,
            "IndexName": HEARTBEAT_INDEX,
            "KeyConditionExpression": "heartbeat_shard = :shard AND heartbeat_due <= :now",
            "ExpressionAttributeValues": {":shard": {"S": shard}, ":now": {"N": str(int(now))}},
        }
        while True:
            page = self.client.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _mark(self, key: Item, *, now: float, request_id: str) -> None:
        project, run_id = key["project"]["S"], key["id"]["S"]
        mark: TransactWriteItemTypeDef = {
            "Update": {
                "TableName": self.runs_table,
                "Key": {"project": key["project"], "id": key["id"]},
                "UpdateExpression": (
                    "SET #status = :lost, live = :live, lost_at = :at, updated_at = :at, "
                    "last_request = :request REMOVE heartbeat_shard, heartbeat_due"
                ),
                "ConditionExpression": "#status = :running AND heartbeat_due = :due",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {
                    ":lost": {"S": "lost"},
                    ":live": {"S": f"{project}#lost"},
                    ":at": {"S": rfc3339(now)},
                    ":request": {"S": request_id},
                    ":running": {"S": "running"},
                    ":due": key["heartbeat_due"],
                },
            }
        }
        record = self._record(project, run_id, now=now, request_id=request_id)
        if write_together(self.client, {"mark": mark, "record": record}):
            return  # it has sent a heartbeat or ended, or another tick has marked it
        self.logger.info("run lost", project=project, run=run_id)

    def _record(
        self, project: str, run_id: str, *, now: float, request_id: str
    ) -> "TransactWriteItemTypeDef":
        """The audit record: without an actor, because nobody but the service has acted."""
        scope = audit_scope(project, "run", run_id)
        digest = sha256(f"{request_id}\0lose_run\0{scope}".encode()).digest()
        texts = {
            "scope": scope,
            "entry": str(ULID(int(now * 1000).to_bytes(6) + digest[:10])),
            "at": rfc3339(now),
            "action": "lose_run",
            "project": project,
            "resource_type": "run",
            "resource_id": run_id,
            "principal": SERVICE,
            "request_id": request_id,
        }
        return {
            "Put": {
                "TableName": self.access_table,
                "Item": {
                    **{name: {"S": text} for name, text in texts.items()},
                    **expiry(self.audit_retention_days, now=now),
                },
                "ConditionExpression": "attribute_not_exists(entry)",
            }
        }


def _is_about_the_index(error: Exception) -> bool:
    """Whether DynamoDB lacks the index, or has not filled it yet."""
    if not isinstance(error, ClientError):
        return False
    fault = error.response["Error"]
    return fault["Code"] == "ValidationException" and " index: " in fault["Message"]
