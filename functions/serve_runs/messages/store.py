"""The messages of runs: each a row of its own, in the order in which they were written.

Whoever has read up to a message must find every later one behind it, whoever wrote it by whatever
clock. So a run has a row with its last message's id, which each further message moves on in its own
transaction: ids grow in the order in which messages appear. A time alone would not do: a writer
whose clock is behind would put its message before one that a reader has passed already.

Each message also names the one before. DynamoDB's transactions are one after the other to each
other, but a query beside them may see a message a moment before the one before: what comes after
such a gap is not told yet.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-isolation

Messages are not in the audit trail: each tells who wrote it, and none is ever changed.

Access patterns, keys and costs: docs/data-model.md.
"""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from byline.caching import Clock
from byline.tables.items import Item, rfc3339
from serve_runs.access.context import Act
from serve_runs.messages.requests import PostMessage, content_text
from serve_runs.messages.views import LAST, before_a_gap, digest, next_id, partition
from serve_runs.runs.items import run_key
from serve_runs.runs.store import IDEMPOTENCY_SECONDS
from serve_runs.transactions import write_together
from serve_runs.web.problems import Problem, not_found, unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

LIFETIME_SECONDS = 90 * 86_400
"""For how long messages stay. A deletion of their run hides them at once, without a write for each
of them; DynamoDB then deletes them at no cost."""

ATTEMPTS = 8
"""How often a message that another one was faster than is tried anew."""

WAIT_SECONDS = 0.02


class MessageStore:
    """The messages of one table of runs."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        now: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._sleep = sleep

    def post(
        self, project: str, run_id: str, *, message: PostMessage, act: Act, key: str | None
    ) -> tuple[Item, Literal["created", "repeated"]]:
        """Write a message, or find the one that `key` wrote: by the same caller, in this run.

        Raises `Problem`: 404 without such a run, 422 for another message of the same key, 503.
        """
        content = content_text(message)
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(random.uniform(0, WAIT_SECONDS * 2**attempt))  # noqa: S311 - to spread
            last, at = self._last(project, run_id), self._now()
            item = self._new_item(project, run_id, message, act, at=at)
            item |= {"id": {"S": next_id(last, at=at)}, "content": {"S": content}}
            if last is not None:
                item["previous"] = {"S": last}
            actions = [
                self._run_is_there(project, run_id),
                self._moved_on(item, last),
                self._put(item),
            ]
            memory = None if key is None else self._memory(item, message, act, key)
            if memory is not None:
                actions.append(self._remembered(memory, at=at))
            try:
                if write_together(self._client, actions) is None:
                    return item, "created"
            except self._client.exceptions.TransactionCanceledException as error:
                _, overtaken, *_, known = error.response["CancellationReasons"]
                if memory is not None and known.get("Code") == "ConditionalCheckFailed":
                    return self._known(
                        project, run_id, memory, cast(Item, known["Item"])
                    ), "repeated"
                if overtaken.get("Code") != "ConditionalCheckFailed":
                    raise
            else:
                raise not_found()
        raise unavailable("store_unavailable", "Others are writing to the same run.")

    def after(self, project: str, run_id: str, *, after: str | None, limit: int) -> list[Item]:
        """Up to `limit` messages behind the one of the id `after`, the oldest first."""
        page = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#project = :messages AND id > :after",
            ExpressionAttributeNames={"#project": "project"},
            ExpressionAttributeValues={
                ":messages": {"S": partition(project, run_id)},
                ":after": {"S": after or LAST},
            },
            ConsistentRead=True,
            Limit=limit,
        )
        return before_a_gap(page["Items"], after=after or LAST, now=self._now())

    def find_run(self, project: str, run_id: str) -> Item | None:
        """The run; None where there is none, or none any more."""
        return self._read(run_key(project, run_id))

    def _new_item(
        self, project: str, run_id: str, message: PostMessage, act: Act, *, at: float
    ) -> Item:
        person = None if act.on_behalf_of is None else act.on_behalf_of.identity
        texts = {
            "project": partition(project, run_id),
            "role": message.role,
            "created_at": rfc3339(at),
            "author": act.identity,
            "on_behalf_of": person,
            "last_request": act.request_id,
        }
        item: Item = {name: {"S": text} for name, text in texts.items() if text is not None}
        return item | {"expires_at": {"N": str(int(at) + LIFETIME_SECONDS)}}

    def _run_is_there(self, project: str, run_id: str) -> "TransactWriteItemTypeDef":
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": run_key(project, run_id),
                "ConditionExpression": "attribute_exists(id)",
            }
        }

    def _moved_on(self, item: Item, last: str | None) -> "TransactWriteItemTypeDef":
        put: Any = {
            "TableName": self._table,
            "Item": {
                "project": item["project"],
                "id": {"S": LAST},
                "last": item["id"],
                "expires_at": item["expires_at"],
            },
        }
        if last is None:
            return {"Put": put | {"ConditionExpression": "attribute_not_exists(id)"}}
        return {
            "Put": put
            | {
                "ConditionExpression": "#last = :last",
                "ExpressionAttributeNames": {"#last": "last"},
                "ExpressionAttributeValues": {":last": {"S": last}},
            }
        }

    def _put(self, item: Item) -> "TransactWriteItemTypeDef":
        return {
            "Put": {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": "attribute_not_exists(id)",
            }
        }

    def _memory(self, item: Item, message: PostMessage, act: Act, key: str) -> Item:
        return {
            # Beside those of runs, which have no `#`.
            "project": {"S": item["project"]["S"].replace("messages#", "idempotency#", 1)},
            "id": {"S": f"message#{digest(act.principal, key)}"},
            "message": item["id"],
            "body": {"S": digest(message.role, item["content"]["S"])},
            "expires_at": {"N": str(int(self._now()) + IDEMPOTENCY_SECONDS)},
        }

    def _remembered(self, memory: Item, *, at: float) -> "TransactWriteItemTypeDef":
        return {
            "Put": {
                "TableName": self._table,
                "Item": memory,
                # DynamoDB deletes what has expired within days: until then it is in the way.
                "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now",
                "ExpressionAttributeValues": {":now": {"N": str(int(at))}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _known(self, project: str, run_id: str, memory: Item, known: Item) -> Item:
        if known["body"] != memory["body"]:
            raise Problem(
                422, "idempotency_conflict", "This Idempotency-Key came with another body before."
            )
        message = self._read({"project": {"S": partition(project, run_id)}, "id": known["message"]})
        if message is None:
            raise not_found()
        return message

    def _last(self, project: str, run_id: str) -> str | None:
        item = self._read({"project": {"S": partition(project, run_id)}, "id": {"S": LAST}})
        return None if item is None else item["last"]["S"]

    def _read(self, key: Item) -> Item | None:
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")
