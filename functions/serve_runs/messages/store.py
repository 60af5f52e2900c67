"""Reading and writing the messages of runs: one row each, in the order in which they were written.

A reader that continues after a message must find all later messages, whatever the writers' clocks.
So a run has a row with the id of its last message. The transaction of each message updates that
row, so ids grow in the order in which messages become visible. Timestamps alone do not ensure this:
a writer whose clock is behind would place its message before one that was already read.

Each message also names its predecessor. Transactions are serializable, but a concurrent query may
return a message before its predecessor is visible. Messages after such a gap are not shown yet.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html#transaction-isolation

A user's message tells a run what to do, so it has an audit record. A runner's message is the output
of a run. It has its author, is never changed, and has no record.

Access patterns, keys and costs: docs/data-model.md.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from byline.caching import Clock
from byline.identity.caller import read_principal
from byline.retries import jittered_wait
from byline.tables.rows import (
    EXPIRES_AT,
    NOT_EXPIRED,
    Item,
    expiry,
    is_expired,
    rfc3339,
    seconds,
    write_together,
)
from serve_runs.audit.trail import ActionContext, AuditedResource, AuditTrail
from serve_runs.errors import RequestFailed, not_found
from serve_runs.idempotency import RememberedKey, digest
from serve_runs.messages.requests import PostMessage, content_text, sorted_text
from serve_runs.messages.views import LAST, before_a_gap, next_id, partition
from serve_runs.runs.views import run_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

ATTEMPTS = 8
"""How often a message is written, because another message may be written first."""

WAIT_SECONDS = 0.04


class MessageStore:
    """The messages in one table of runs, each kept for `retention_days`; 0 for ever.

    The expiry of a run hides its messages at once, without a write to each of them.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        audit: AuditTrail,
        now: Clock,
        retention_days: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._audit = audit
        self._now = now
        self._retention_days = retention_days
        self._sleep = sleep

    def post(
        self,
        project: str,
        run_id: str,
        *,
        message: PostMessage,
        action: ActionContext,
        key: str | None,
    ) -> tuple[Item, Literal["created", "repeated"]]:
        """Write a message, or find the message that `key` wrote: by the same caller, in this run.

        Raises `RequestFailed`: `not_found` where the run does not exist, `idempotency_conflict` for
        another message with the same key, `store_unavailable` where other messages came first.
        """
        content = content_text(message)
        remembered = None
        if key is not None:
            remembered = RememberedKey(
                # Not the partition of a run's own keys, because project names have no `#`.
                f"idempotency#{project}#{run_id}",
                f"message#{digest(*action.key_owners, key)}",
                # In one order, so that the order of members does not matter.
                digest(message.role, sorted_text(message)),
                digest(message.role, content),
            )
        records: dict[str, TransactWriteItemTypeDef] = {}
        if message.role == "user":
            run = AuditedResource(project, "run", run_id)
            records["record"] = self._audit.record(action, "post_user_message", run)
        for overtaken in range(ATTEMPTS):
            if overtaken:
                self._sleep(jittered_wait(overtaken, base_seconds=WAIT_SECONDS))
            at, before = self._now(), self._last(project, run_id)
            last = None if before is None else before["last"]["S"]
            item = self._new_item(project, run_id, message, action, at=at)
            item |= {"id": {"S": next_id(last, at=at)}, "content": {"S": content}}
            # Readers do not wait for a predecessor that may be deleted already.
            if before is not None and not is_expired(before, now=at):
                item["previous"] = before["last"]
            actions = {
                "run": self._require_run(project, run_id, at=at),
                "last": self._move_last(item, last),
                "message": self._put(item),
            }
            if remembered is not None:
                actions["key"] = remembered.put(self._table, {"message": item["id"]}, now=at)
            refused = write_together(self._client, actions | records)
            if not refused:
                return item, "created"
            if "run" in refused:
                raise not_found()
            if remembered is not None and "key" in refused:
                return self._created_by(remembered, refused["key"], project, run_id), "repeated"
            # Another message was written first: the next attempt takes an id after it.
        raise RequestFailed(
            "store_unavailable", "Other requests keep writing messages of this run. Retry."
        )

    def after(self, project: str, run_id: str, *, after: str | None, limit: int) -> list[Item]:
        """Up to `limit` messages after the one with the id `after`, the oldest first."""
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
        """The run; None where it does not exist, was deleted, or has expired."""
        run = self._read(run_key(project, run_id))
        return None if run is None or is_expired(run, now=self._now()) else run

    def _new_item(
        self, project: str, run_id: str, message: PostMessage, action: ActionContext, *, at: float
    ) -> Item:
        caller, link = action.caller, action.on_behalf_of
        issuer = None if caller is None else caller.issuer
        person_issuer = None if link is None else read_principal(link.principal).issuer
        texts = {
            "project": partition(project, run_id),
            "role": message.role,
            "created_at": rfc3339(at),
            "author": action.identity,
            "author_issuer": issuer,
            "on_behalf_of": None if link is None else link.identity,
            # Most agents have the issuer of their person.
            "person_issuer": None if person_issuer == issuer else person_issuer,
            "last_request": action.request_id,
        }
        item: Item = {name: {"S": text} for name, text in texts.items() if text is not None}
        return item | expiry(self._retention_days, now=at)

    def _require_run(self, project: str, run_id: str, *, at: float) -> "TransactWriteItemTypeDef":
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": run_key(project, run_id),
                "ConditionExpression": f"attribute_exists(id) AND {NOT_EXPIRED}",
                "ExpressionAttributeValues": {":now": seconds(at)},
            }
        }

    def _move_last(self, item: Item, last: str | None) -> "TransactWriteItemTypeDef":
        put: Any = {
            "TableName": self._table,
            "Item": {
                "project": item["project"],
                "id": {"S": LAST},
                "last": item["id"],
                **{name: item[name] for name in (EXPIRES_AT,) if name in item},
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

    def _created_by(self, key: RememberedKey, found: Item, project: str, run_id: str) -> Item:
        key.require_same_body(found)
        message = self._read({"project": {"S": partition(project, run_id)}, "id": found["message"]})
        if message is None:
            raise not_found()
        return message

    def _last(self, project: str, run_id: str) -> Item | None:
        return self._read({"project": {"S": partition(project, run_id)}, "id": {"S": LAST}})

    def _read(self, key: Item) -> Item | None:
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return answer.get("Item")
