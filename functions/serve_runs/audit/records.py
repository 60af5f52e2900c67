"""The audit trail: one record of each change and of each token that was handed out.

A record is written in one transaction with its change, so there is neither without the other.
Records are only ever added: each put is conditional, and IAM lets this function neither update nor
delete one (`AuditIsAppendOnly` in template.yaml).

Access patterns, keys and costs: docs/data-model.md.
"""

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from ulid import ULID

from byline.caching import Clock
from byline.identity.caller import read_executed_by
from byline.tables.items import Item, rfc3339
from serve_runs.access.context import Act

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef

AUDIT = "audit#"
"""What the partitions of all records begin with, and nothing else does."""

Action = Literal[
    "create_run",
    "start_run",
    "finish_run",
    "fail_run",
    "cancel_run",
    "delete_run",
    "register_runner",
    "delete_runner",
    "read_runner_token",
    "create_service_account",
    "delete_service_account",
    "write_credential",
    "delete_credential",
    "read_credential_token",
    "grant_role",
    "revoke_role",
]
"""What is recorded, by the names that the policies have for it."""

ResourceType = Literal["run", "runner", "credential", "service_account", "role_binding"]


@dataclass(frozen=True, slots=True)
class Resource:
    """What something was done to. `id`: a run's id, a name, or whose role it is."""

    project: str
    type: ResourceType
    id: str

    @property
    def scope(self) -> str:
        """The partition of its records. Only `id` may hold a `#`, so no two resources share one."""
        return f"{AUDIT}{self.project}#{self.type}#{self.id}"


class AuditTrail:
    """The records of one table."""

    def __init__(self, client: "DynamoDBClient", table: str, *, now: Clock) -> None:
        self._client = client
        self._table = table
        self._now = now

    def record(self, act: Act, action: Action, resource: Resource) -> "TransactWriteItemTypeDef":
        """What is to be written in one transaction with the change that it records.

        Made once for each request: attempts of one request then share a key, and can leave one
        record at the most.
        """
        return {"Put": self._put(act, action, resource, run=None)}

    def write(self, act: Act, action: Action, resource: Resource, *, run: str | None) -> None:
        """Record what changes nothing, before it is done. `run`: for which run, as the caller says.

        Raises what DynamoDB's client raises: then it must not be done.
        """
        # It is there already where DynamoDB's first answer was lost, and then it is this one.
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.put_item(**self._put(act, action, resource, run=run))

    def _put(
        self, act: Act, action: Action, resource: Resource, *, run: str | None
    ) -> "PutTypeDef":
        at = self._now()
        texts = {
            "scope": resource.scope,
            "entry": _entry(act, action, resource, at=at),
            "at": rfc3339(at),
            "action": action,
            "project": resource.project,
            "resource_type": resource.type,
            "resource_id": resource.id,
            "principal": act.principal,
            "actor": act.identity,
            "on_behalf_of": act.on_behalf_of and act.on_behalf_of.identity,
            "answerable": act.answerable,
            "request_id": act.request_id,
            "run": run,
        }
        return {
            "TableName": self._table,
            "Item": {name: {"S": text} for name, text in texts.items() if text is not None},
            "ConditionExpression": "attribute_not_exists(entry)",
        }


def record_json(item: Item) -> dict[str, Any]:
    """A record as the API shows it, every field there, null where nothing is known."""
    text = {name: value.get("S") for name, value in item.items()}
    actor, person = text.get("actor"), text.get("on_behalf_of")
    return {
        "id": text["entry"],
        "at": text["at"],
        "action": text["action"],
        "project": text["project"],
        "resource": {"type": text["resource_type"], "id": text["resource_id"]},
        "principal": text["principal"],
        "actor": actor and read_executed_by(actor),
        "on_behalf_of": person and read_executed_by(person),
        "request_id": text["request_id"],
        "run": text.get("run"),
    }


def _entry(act: Act, action: Action, resource: Resource, *, at: float) -> str:
    """A ULID of the time and, in the place of its random bits, of the request and what it did."""
    digest = sha256(f"{act.request_id}\0{action}\0{resource.scope}".encode()).digest()
    return str(ULID(int(at * 1000).to_bytes(6) + digest[:10]))
