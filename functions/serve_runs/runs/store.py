"""Reading and writing runs. Every write is conditional, and harmless when it runs twice.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from byline.caching import Clock
from byline.registration.outbox import NewOutboxEntry, no_outbox_entry
from byline.tables.items import Item, rfc3339
from serve_runs.access.context import Act
from serve_runs.audit.records import AuditTrail, Resource
from serve_runs.runs.items import body_digest, new_item, run_key
from serve_runs.runs.requests import CreateRun
from serve_runs.runs.states import Transition
from serve_runs.transactions import write_together
from serve_runs.web.problems import Problem, not_found, unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        DeleteTypeDef,
        PutTypeDef,
        TransactWriteItemTypeDef,
        UpdateTypeDef,
    )

IDEMPOTENCY_SECONDS = 86_400
"""For how long an `Idempotency-Key` gives the same run again."""

READS_BEFORE_WRITING = 3
"""How often a run that is changed meanwhile is read anew."""

UNCHANGED = "last_request = :seen"
"""What was read is what is changed: every write of a run leaves its request there."""


class RunStore:
    """The runs of one table. Every change is written together with its record in `audit`.

    `mark`: what rows carry that the authorization service does not know of yet.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        audit: AuditTrail,
        now: Clock,
        new_id: Callable[[], str],
        mark: NewOutboxEntry = no_outbox_entry,
    ) -> None:
        self._client = client
        self._table = table
        self._audit = audit
        self._now = now
        self._new_id = new_id
        self._mark = mark

    def create(
        self,
        body: CreateRun,
        *,
        project: str,
        act: Act,
        claim: "Sequence[TransactWriteItemTypeDef]" = (),
    ) -> Item:
        """Create a run, and with a project's first one do what claims the project."""
        item = self._new_item(body, project, act)
        actions: list[TransactWriteItemTypeDef] = [{"Put": put_once(self._table, item)}]
        if write_together(self._client, [*actions, self._created(act, item), *claim]) is not None:
            raise RuntimeError("the row of a new run was refused")
        return item

    def create_once(
        self,
        body: CreateRun,
        *,
        project: str,
        act: Act,
        key: str,
        claim: "Sequence[TransactWriteItemTypeDef]" = (),
    ) -> tuple[Item, Literal["created", "repeated"]]:
        """Create a run, or find the one that `key` created: by the same caller, in this project.

        Raises `Problem`: 422 for another body, 409 where that run was deleted since.
        """
        item = self._new_item(body, project, act)
        now = self._now()
        memory: Item = {
            "project": {"S": f"idempotency#{project}"},
            "id": {"S": _idempotency_id(act, key)},
            "run": item["id"],
            "body": {"S": body_digest(body)},
            "expires_at": {"N": str(int(now) + IDEMPOTENCY_SECONDS)},
        }
        remember: PutTypeDef = {
            "TableName": self._table,
            "Item": memory,
            # DynamoDB deletes what has expired within days: until then it is in the way.
            "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": {"N": str(int(now))}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        put = put_once(self._table, item)
        remembered = write_together(
            self._client, [{"Put": remember}, {"Put": put}, self._created(act, item), *claim]
        )
        if remembered is None:
            return item, "created"
        return self._remembered(remembered, body, project), "repeated"

    def created_before(self, body: CreateRun, *, project: str, act: Act, key: str) -> Item | None:
        """The run that `key` created, if it created one. Raises as `create_once`."""
        remembered = self.find(f"idempotency#{project}", _idempotency_id(act, key))
        if remembered is None or int(remembered["expires_at"]["N"]) <= self._now():
            return None
        return self._remembered(remembered, body, project)

    def find(self, project: str, run_id: str) -> Item | None:
        """One run, if it is there."""
        answer = self._client.get_item(
            TableName=self._table, Key=run_key(project, run_id), ConsistentRead=True
        )
        return answer.get("Item")

    def get(self, project: str, run_id: str) -> Item:
        """One run. Raises `Problem` 404."""
        item = self.find(project, run_id)
        if item is None:
            raise not_found()
        return item

    def change(self, project: str, run_id: str, *, transition: Transition, act: Act) -> Item:
        """Change a run's state and record the actor.

        Raises `Problem`: 404, or 409 with the current state where the change does not follow.
        """
        now = self._now()
        changes: Item = {
            "status": {"S": transition.after},
            "updated_at": {"S": rfc3339(now)},
            "last_request": {"S": act.request_id},
        }
        if act.identity is not None and act.caller is not None:
            changes[transition.actor_column] = {"S": act.identity}
            changes[f"{transition.actor_column}_issuer"] = {"S": act.caller.issuer}
        record = self._audit.record(act, transition.action, Resource(project, "run", run_id))
        for _ in range(READS_BEFORE_WRITING):
            run = self.get(project, run_id)
            state = run["status"]["S"]
            if state not in transition.before:
                raise Problem(
                    409,
                    "wrong_state",
                    f"A run that is {state} cannot {transition.name}.",
                    members={"current_status": state},
                )
            update: UpdateTypeDef = {
                "TableName": self._table,
                "Key": run_key(project, run_id),
                "UpdateExpression": f"SET {', '.join(f'#{name} = :{name}' for name in changes)}",
                "ConditionExpression": UNCHANGED,
                # `status` is a reserved word of DynamoDB's.
                "ExpressionAttributeNames": {f"#{name}": name for name in changes},
                "ExpressionAttributeValues": {
                    ":seen": run["last_request"],
                    **{f":{name}": value for name, value in changes.items()},
                },
            }
            if write_together(self._client, [{"Update": update}, record]) is None:
                return run | changes
        raise _contended()

    def delete(self, project: str, run_id: str, *, act: Act) -> None:
        """Delete a run and keep its row, with who deleted it, as a tombstone that no route shows.

        Raises `Problem` 404.
        """
        now = self._now()
        record = self._audit.record(act, "delete_run", Resource(project, "run", run_id))
        for _ in range(READS_BEFORE_WRITING):
            run = self.get(project, run_id)
            tombstone: Item = run | {
                "project": {"S": f"deleted#{project}"},
                "deleted_at": {"S": rfc3339(now)},
                "last_request": {"S": act.request_id},
                **self._mark(run_id, since=rfc3339(now)),
            }
            # Out of the index: what is deleted is not listed.
            tombstone.pop("creator", None)
            # That was about registering it, and its end has not been told yet.
            tombstone.pop("registration_error", None)
            if act.identity is not None:
                tombstone["deleted_by"] = {"S": act.identity}
            delete: DeleteTypeDef = {
                "TableName": self._table,
                "Key": run_key(project, run_id),
                "ConditionExpression": UNCHANGED,
                "ExpressionAttributeValues": {":seen": run["last_request"]},
            }
            bury: PutTypeDef = {
                "TableName": self._table,
                "Item": tombstone,
                "ConditionExpression": "attribute_not_exists(id)",
            }
            if write_together(self._client, [{"Delete": delete}, {"Put": bury}, record]) is None:
                return
        raise _contended()

    def _remembered(self, memory: Item, body: CreateRun, project: str) -> Item:
        if memory["body"]["S"] != body_digest(body):
            raise Problem(
                422, "idempotency_conflict", "This Idempotency-Key came with another body before."
            )
        run = self.find(project, memory["run"]["S"])
        if run is None:
            raise Problem(409, "run_deleted", "The run of this Idempotency-Key has been deleted.")
        return run

    def _new_item(self, body: CreateRun, project: str, act: Act) -> Item:
        run_id, now = self._new_id(), self._now()
        item = new_item(body, project=project, run_id=run_id, act=act, at=now)
        return item | self._mark(run_id, since=rfc3339(now))

    def _created(self, act: Act, run: Item) -> "TransactWriteItemTypeDef":
        resource = Resource(run["project"]["S"], "run", run["id"]["S"])
        return self._audit.record(act, "create_run", resource)


def put_once(table: str, item: Item) -> "PutTypeDef":
    """Put `item` unless it is there, with at most one of the two creators.

    The second condition compares what is being written, not what is there: DynamoDB itself then
    refuses a row with both, whatever the code above it came to believe.
    """
    nobody = {"S": ""}
    return {
        "TableName": table,
        "Item": item,
        "ConditionExpression": (
            "attribute_not_exists(id) AND (:user = :nobody OR :service_account = :nobody)"
        ),
        "ExpressionAttributeValues": {
            ":nobody": nobody,
            ":user": item.get("creator_user_id", nobody),
            ":service_account": item.get("creator_service_account_id", nobody),
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _idempotency_id(act: Act, key: str) -> str:
    """Whose key it is belongs to the key: nobody finds another caller's run by guessing."""
    return sha256(f"{act.principal}\0{key}".encode()).hexdigest()


def _contended() -> Problem:
    return unavailable("store_unavailable", "Other requests are changing the same run.")
