"""Reading and writing runs. Every write is conditional, and harmless when it runs twice.

Access patterns, keys and costs: docs/data-model.md.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, cast

from botocore.exceptions import ClientError

from byline.caching import Clock
from byline.caller import Caller
from problems import Problem, not_found, unavailable
from run_items import Item, body_digest, identity_text, new_item, rfc3339, run_key
from run_requests import CreateRun
from run_states import Transition
from transactions import write_together

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import DeleteTypeDef, PutTypeDef

IDEMPOTENCY_SECONDS = 86_400
"""For how long an `Idempotency-Key` gives the same run again."""

READS_BEFORE_DELETING = 3
"""How often a run that is changed meanwhile is read anew."""


class RunStore:
    """The runs of one table."""

    def __init__(
        self, client: "DynamoDBClient", table: str, *, now: Clock, new_id: Callable[[], str]
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._new_id = new_id

    def create(
        self, body: CreateRun, *, project: str, creator: Caller | None, request_id: str
    ) -> Item:
        """Create a run."""
        item = self._new_item(body, project, creator, request_id)
        try:
            self._client.put_item(**put_once(self._table, item))
        except ClientError as error:
            # The first attempt went through and its answer was lost: the row there is this one.
            if _old_item(error).get("last_request") != item["last_request"]:
                raise
        return item

    def create_once(
        self,
        body: CreateRun,
        *,
        project: str,
        creator: Caller | None,
        request_id: str,
        key: str,
    ) -> tuple[Item, Literal["created", "repeated"]]:
        """Create a run, or find the one that `key` created: by the same caller, in this project.

        Raises `Problem`: 422 for another body, 409 where that run was deleted since.
        """
        item = self._new_item(body, project, creator, request_id)
        now = self._now()
        record: Item = {
            "project": {"S": f"idempotency#{project}"},
            "id": {"S": _idempotency_id(creator, key)},
            "run": item["id"],
            "body": {"S": body_digest(body)},
            "expires_at": {"N": str(int(now) + IDEMPOTENCY_SECONDS)},
        }
        remember: PutTypeDef = {
            "TableName": self._table,
            "Item": record,
            # DynamoDB deletes what has expired within days: until then it is in the way.
            "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": {"N": str(int(now))}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        put = put_once(self._table, item)
        remembered = write_together(self._client, [{"Put": remember}, {"Put": put}])
        if remembered is None:
            return item, "created"
        if remembered["body"] != record["body"]:
            raise Problem(
                422, "idempotency_conflict", "This Idempotency-Key came with another body before."
            )
        run = self._read(project, remembered["run"]["S"])
        if run is None:
            raise Problem(409, "run_deleted", "The run of this Idempotency-Key has been deleted.")
        return run, "repeated"

    def get(self, project: str, run_id: str) -> Item:
        """One run. Raises `Problem` 404."""
        item = self._read(project, run_id)
        if item is None:
            raise not_found()
        return item

    def change(
        self,
        project: str,
        run_id: str,
        *,
        transition: Transition,
        actor: Caller | None,
        request_id: str,
    ) -> Item:
        """Change a run's state and record the actor.

        Raises `Problem`: 404, or 409 with the current state where the change does not follow.
        """
        values: Item = {
            ":after": {"S": transition.after},
            ":now": {"S": rfc3339(self._now())},
            ":request": {"S": request_id},
        }
        update = "SET #status = :after, updated_at = :now, last_request = :request"
        if actor is not None:
            update += f", {transition.actor_column} = :actor"
            values[":actor"] = {"S": identity_text(actor)}
        before = {f":before{i}": state for i, state in enumerate(transition.before)}
        values |= {name: {"S": state} for name, state in before.items()}
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=run_key(project, run_id),
                UpdateExpression=update,
                ConditionExpression=f"#status IN ({', '.join(before)})",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if _code(error) != "ConditionalCheckFailedException":
                raise
            current = _old_item(error)
            if not current:
                raise not_found() from None
            if current.get("last_request") == values[":request"]:
                return current  # our first attempt went through and its answer was lost
            state = current["status"]["S"]
            raise Problem(
                409,
                "wrong_state",
                f"A run that is {state} cannot {transition.name}.",
                members={"current_status": state},
            ) from None
        return answer["Attributes"]

    def delete(self, project: str, run_id: str, *, actor: Caller | None, request_id: str) -> None:
        """Delete a run and keep its row, with who deleted it, as a tombstone that no route shows.

        Raises `Problem` 404.
        """
        for _ in range(READS_BEFORE_DELETING):
            item = self.get(project, run_id)
            tombstone: Item = item | {
                "project": {"S": f"deleted#{project}"},
                "deleted_at": {"S": rfc3339(self._now())},
                "last_request": {"S": request_id},
            }
            # Out of the index: what is deleted is not listed.
            tombstone.pop("creator", None)
            if actor is not None:
                tombstone["deleted_by"] = {"S": identity_text(actor)}
            delete: DeleteTypeDef = {
                "TableName": self._table,
                "Key": run_key(project, run_id),
                # What was read is what is buried: a change in between means reading again.
                "ConditionExpression": "last_request = :seen",
                "ExpressionAttributeValues": {":seen": item["last_request"]},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
            bury: PutTypeDef = {
                "TableName": self._table,
                "Item": tombstone,
                "ConditionExpression": "attribute_not_exists(id)",
            }
            if write_together(self._client, [{"Delete": delete}, {"Put": bury}]) is None:
                return
        raise unavailable("store_unavailable", "Other requests are changing the same run.")

    def _new_item(
        self, body: CreateRun, project: str, creator: Caller | None, request_id: str
    ) -> Item:
        return new_item(
            body,
            project=project,
            run_id=self._new_id(),
            creator=creator,
            at=self._now(),
            request_id=request_id,
        )

    def _read(self, project: str, run_id: str) -> Item | None:
        answer = self._client.get_item(
            TableName=self._table, Key=run_key(project, run_id), ConsistentRead=True
        )
        return answer.get("Item")


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


def _idempotency_id(creator: Caller | None, key: str) -> str:
    """Whose key it is belongs to the key: nobody finds another caller's run by guessing."""
    who = ("", "") if creator is None else (creator.issuer, creator.subject)
    return sha256("\0".join((*who, key)).encode()).hexdigest()


def _old_item(error: ClientError) -> Item:
    return cast(Item, error.response.get("Item", {}))


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
