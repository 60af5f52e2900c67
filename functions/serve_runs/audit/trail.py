"""The audit trail: one record of each change, and of each read of a token.

A record is written in one transaction with its change, so neither exists without the other. Records
are append-only: each put is conditional, and IAM denies this function to update or delete a record
(`AuditIsAppendOnly` in template.yaml).

Access patterns, keys and costs: docs/data-model.md.
"""

from copy import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import msgspec
from ulid import ULID

from byline.caching import Clock
from byline.identity.caller import Caller, principal_text
from byline.tables.rows import ConditionFailed, Item, audit_scope, expiry, rfc3339, write_row

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef

    from serve_runs.access.control import Access
    from serve_runs.access.decisions import Resource

Action = Literal[
    "create_project",
    "delete_project",
    "create_run",
    "start_run",
    "finish_run",
    "fail_run",
    "cancel_run",
    "lose_run",
    "resume_run",
    "delete_run",
    "post_user_message",
    "register_runner",
    "delete_runner",
    "refresh_runner",
    "read_runner_token",
    "create_service_account",
    "delete_service_account",
    "allow_agent",
    "delete_agent",
    "write_credential",
    "bind_credential",
    "delete_credential",
    "read_credential_token",
    "grant_role",
    "revoke_role",
    "write_apply_set",
]
"""The actions that are recorded, by their names in the policies."""

ResourceType = Literal[
    "project",
    "run",
    "runner",
    "credential",
    "service_account",
    "agent",
    "role_binding",
    "apply_set",
]


class RepresentedPerson(msgspec.Struct, frozen=True):
    """The person that a caller acts for: the principal as text, and `executed_by` as JSON.

    `is_inherited`: the person comes from the parent run, not from the caller.
    """

    principal: str
    identity: str
    is_inherited: bool = False


class ActionContext(msgspec.Struct, frozen=True):
    """The caller of an action, the person it acts for, and the request.

    `request_id`: Lambda's request id, which is unique.
    """

    caller: Caller | None
    request_id: str
    on_behalf_of: RepresentedPerson | None = None

    def on(self, resource: "Resource", action: str, *, access: "Access") -> "ActionContext":
        """This context, without the person where the caller acts by its own right."""
        return replace(self, on_behalf_of=None) if access.is_own_right(action, resource) else self

    @property
    def identity(self) -> str | None:
        """The caller as the `…_by` columns have it, JSON; None for anonymous and unknown kinds."""
        return None if self.caller is None else self.caller.stored

    @property
    def issuer(self) -> str | None:
        """The issuer of `identity`, None where that is None."""
        return None if self.caller is None or self.identity is None else self.caller.issuer

    @property
    def principal(self) -> str:
        """The caller by kind, issuer and subject, as records name it."""
        return principal_text(self.caller)

    @property
    def is_own_of_application(self) -> bool:
        """Whether the caller is an application that acts for no person."""
        caller = self.caller
        return self.on_behalf_of is None and caller is not None and caller.kind == "application"

    @property
    def key_owners(self) -> tuple[str, ...]:
        """The principals that an `Idempotency-Key` belongs to: the caller, and its person.

        A service account that acts for another person later does not get the former person's run.
        A person from the parent run does not count, because it depends on the parent.
        """
        person = self.on_behalf_of
        if person is None or person.is_inherited:
            return (self.principal,)
        return (self.principal, person.principal)

    @property
    def chain(self) -> str | None:
        """The agents before the caller in its delegated token, as JSON; None without any."""
        chain = () if self.caller is None else self.caller.chain
        return msgspec.json.encode(chain).decode() if chain else None

    @property
    def accountable(self) -> str | None:
        """The accountable principal: the person acted for, else the caller; None for anonymous."""
        if self.on_behalf_of is not None:
            return self.on_behalf_of.principal
        return None if self.caller is None else self.principal


class AuditedResource(msgspec.Struct, frozen=True):
    """The resource of a record. `id`: a run id, a name, or a binding's role and principal."""

    project: str
    type: ResourceType
    id: str

    @property
    def scope(self) -> str:
        """The partition of its records."""
        return audit_scope(self.project, self.type, self.id)


class AuditTrail:
    """The records in `AccessTable`, each kept for `retention_days`; 0 for ever.

    `callers_are_verified`: whether the deployment verifies callers. Each record has it, because the
    setting may change later.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        now: Clock,
        retention_days: int = 0,
        callers_are_verified: bool = True,
    ) -> None:
        self._client = client
        self.table = table
        self._now = now
        self._retention_days = retention_days
        self._callers_are_verified = callers_are_verified

    def record(
        self,
        context: ActionContext,
        action: Action,
        resource: AuditedResource,
        *,
        readers: str | None = None,
        details: Item | None = None,
    ) -> "TransactWriteItemTypeDef":
        """The record as an action of the transaction that makes the change.

        Build it once for each request. All attempts then share a key, so at most one record exists.

        `readers`: those that a credential was bound to, JSON; None where they did not change.
        `details`: more attributes, such as how a run ended.
        """
        put = self._put(context, action, resource, run=None, readers=readers)
        return {"Put": {**put, "Item": {**put["Item"], **(details or {})}}}

    def write(
        self,
        context: ActionContext,
        action: Action,
        resource: AuditedResource,
        *,
        run: str | None,
    ) -> None:
        """Record an action that changes no row, before it is carried out.

        `run`: the run that needs the action. Raises DynamoDB's errors and
        `Contended`: after an error the action must not be carried out.
        """
        put = self._put(context, action, resource, run=run)
        try:
            write_row(self._client, lambda: self._client.put_item(**put))
        except ConditionFailed:
            return  # botocore repeated a put whose answer was lost: the record exists

    def _put(
        self,
        context: ActionContext,
        action: Action,
        resource: AuditedResource,
        *,
        run: str | None,
        readers: str | None = None,
    ) -> "PutTypeDef":
        at = self._now()
        texts = {
            "scope": resource.scope,
            "entry": _entry(context, action, resource, at=at),
            "at": rfc3339(at),
            "action": action,
            "project": resource.project,
            "resource_type": resource.type,
            "resource_id": resource.id,
            "principal": context.principal,
            "source": "none" if context.caller is None else context.caller.source,
            "actor": context.identity,
            "on_behalf_of": context.on_behalf_of and context.on_behalf_of.identity,
            "through": (context.caller and context.caller.through) or None,
            "chain": context.chain,
            "answerable": context.accountable,
            "request_id": context.request_id,
            "run": run,
            "readers": readers,
        }
        return {
            "TableName": self.table,
            "Item": {
                **{name: {"S": text} for name, text in texts.items() if text is not None},
                "verified": {"BOOL": self._callers_are_verified},
                **expiry(self._retention_days, now=at),
            },
            "ConditionExpression": "attribute_not_exists(entry)",
        }


def _entry(context: ActionContext, action: Action, resource: AuditedResource, *, at: float) -> str:
    """A ULID of the time `at`; its random bits are a digest of request, action and resource."""
    digest = sha256(f"{context.request_id}\0{action}\0{resource.scope}".encode()).digest()
    return str(ULID(int(at * 1000).to_bytes(6) + digest[:10]))
