"""What an attacker who runs code in a function may try: each attack beside a request like it.

The role allows the first request of a pair. The second one differs in one thing, and is an attack.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.permissions.accesses import (
    FORCED_DELETION,
    RETURN_VALUES,
    SELECT,
    Access,
    accesses,
)
from tests.permissions.evaluator import Request, of_role, request_of
from tests.permissions.policies import AUDIENCE, OTHER_ACCOUNT, STACK, arn

type Attack = tuple[list[Request], list[Request]]
"""The requests of a call that is allowed, and of the attack. IAM must refuse one of the latter."""

SECRETS = ("clients/*", "tokens/*", "credentials/*")
CLIENTS, TOKENS, CREDENTIALS = SECRETS

ROLES = Access("serve_runs", "dynamodb:UpdateItem", "AccessTable", ("project#*",))
RUN = Access("serve_runs", "dynamodb:UpdateItem", "RunsTable", ("*",))
RUNNER = Access("serve_runs", "dynamodb:DeleteItem", "RunnersTable", ("*",))
TOKEN_OF_RUNNERS = Access("serve_runs", "dynamodb:UpdateItem", "RunnersTable", ("tokens#*",))
CREDENTIAL = Access("serve_runs", "secretsmanager:GetSecretValue", CREDENTIALS)
DELETED_CREDENTIAL = Access(
    "serve_runs",
    "secretsmanager:DeleteSecret",
    CREDENTIALS,
    conditions=((FORCED_DELETION, "false"),),
)
FIRST_TOKEN = Access("serve_runs", "sqs:SendMessage", "RefreshQueue")

DUE = Access(
    "plan_refresh",
    "dynamodb:Query",
    "RunnersTable/index/by-due",
    ("*",),
    ((SELECT, "ALL_PROJECTED_ATTRIBUTES"),),
)
LOST = Access(
    "plan_refresh",
    "dynamodb:UpdateItem",
    "RunsTable",
    ("*",),
    (),
    frozenset({"project", "id", "heartbeat_due", "heartbeat_shard", "last_request", "live"})
    | {"lost_at", "status", "updated_at"},
)
RECORD_OF_LOST_RUN = Access("plan_refresh", "dynamodb:PutItem", "AccessTable", ("audit#*",))
WORK = Access("plan_refresh", "sqs:SendMessage", "RefreshQueue")

LEASE = Access("refresh_tokens", "dynamodb:DeleteItem", "RunnersTable", ("lease#*",))
REFRESHED = Access("refresh_tokens", "dynamodb:UpdateItem", "RunnersTable", ("tokens#*",))
TOKEN = Access("refresh_tokens", "secretsmanager:PutSecretValue", TOKENS)
CLIENT = Access("refresh_tokens", "secretsmanager:GetSecretValue", CLIENTS)

CLAIM = Access("register_resources", "dynamodb:DeleteItem", "RunsTable", ("registration#*",))
REGISTRATION = Access(
    "register_resources",
    "dynamodb:UpdateItem",
    "RunsTable",
    ("*",),
    ((RETURN_VALUES, "NONE"),),
    frozenset({"project", "id", "unregistered", "registered_at"}),
)
PENDING_RUN = Access(
    "register_resources",
    "dynamodb:GetItem",
    "RunsTable",
    ("*",),
    ((SELECT, "SPECIFIC_ATTRIBUTES"),),
    frozenset({"project", "id", "unregistered", "agent"}),
)

OF_A_RUN = (
    "status",
    "executed_by",
    "creator",
    "creator_issuer",
    "creator_user_id",
    "creator_service_account_id",
    "on_behalf_of",
    "person",
    "runner",
    "labels",
    "deleted_by",
    "last_request",
    "live",
)
"""Attributes of a run that the registrar must not change, nor the planner most of them."""

OTHER_ROWS = ("deleted", "idempotency", "messages", "registration", "revocation", "waiting")
"""The prefixes of the keys of rows in `RunsTable` that are no runs."""

ADMINISTRATION = {
    "dynamodb:DeleteTable": arn("dynamodb", "table/AccessTable"),
    "dynamodb:UpdateTable": arn("dynamodb", "table/AccessTable"),
    "dynamodb:UpdateTimeToLive": arn("dynamodb", "table/AccessTable"),
    "dynamodb:PutResourcePolicy": arn("dynamodb", "table/AccessTable"),
    "dynamodb:Scan": arn("dynamodb", "table/AccessTable"),
    "secretsmanager:ListSecrets": "*",
    "secretsmanager:PutResourcePolicy": arn("secretsmanager", f"secret:{STACK}/clients/a-a1B2c3"),
    "lambda:InvokeFunction": arn("lambda", "function:RunsFunction:live"),
    "lambda:UpdateFunctionCode": arn("lambda", "function:RunsFunction"),
    "lambda:UpdateFunctionConfiguration": arn("lambda", "function:RunsFunction"),
    "iam:PutRolePolicy": "arn:aws:iam::123456789012:role/RunsRole",
    "logs:DeleteLogGroup": arn("logs", "log-group:RunsLogGroup"),
    "sqs:PurgeQueue": arn("sqs", "RefreshQueue"),
    "kms:Decrypt": arn("kms", "key/1234abcd-12ab-34cd-56ef-1234567890ab"),
}
"""What no role may do: administer the stack, read all rows or secrets, invoke the API."""


def attacks() -> Iterator[tuple[str, Attack]]:
    """All attacks, each with its name."""
    yield from _on_audit_records()
    yield from _on_rows_of_runs()
    yield from _on_runners()
    yield from _by_the_registrar()
    yield from _on_secrets()
    yield from _by_the_planner_and_the_refresher()
    yield from _on_web_identities()


def _on_web_identities() -> Iterator[tuple[str, Attack]]:
    """JWTs of the refresher's role for others than the operator's audiences, or for longer."""

    def request(*audiences: str, seconds: str = "60") -> Request:
        context: dict[str, Any] = {"sts:DurationSeconds": seconds}
        if audiences:
            context["sts:IdentityTokenAudience"] = [*audiences]
        return of_role("RefreshTokensRole", "sts:GetWebIdentityToken", "*", context)

    for name, attack in (
        ("another audience", request("https://another.example")),
        ("another audience beside its own", request(AUDIENCE, "https://another.example")),
        ("no audience", request()),
        ("an hour", request(AUDIENCE, seconds="3600")),
    ):
        yield f"JWT of the refresher for {name}", ([request(AUDIENCE)], [attack])


def _pair(name: str, allowed: Access, **changes: object) -> tuple[str, Attack]:
    attack = replace(allowed, **changes)  # type: ignore[arg-type]
    return name, ([request_of(allowed)], [request_of(attack)])


def _on_audit_records() -> Iterator[tuple[str, Attack]]:
    audit = ("audit#*",)
    deleted = replace(ROLES, action="dynamodb:DeleteItem")
    yield _pair("update an audit record", ROLES, keys=audit)
    yield _pair("delete an audit record", deleted, keys=audit)
    yield _pair("update an audit record among other rows", ROLES, keys=("project#*", *audit))
    yield _pair("update a row of an unknown kind in AccessTable", ROLES, keys=("other#*",))
    yield _pair("update a row of AccessTable without its key", ROLES, keys=())
    yield _pair("delete a row of AccessTable without its key", deleted, keys=())
    for action in ("BatchWriteItem", "PartiQLUpdate", "PartiQLDelete"):
        yield _pair(f"{action} of audit records", ROLES, action=f"dynamodb:{action}", keys=audit)
    for kind in ("Update", "Delete"):
        yield (
            f"{kind} an audit record in a transaction",
            (_together(kind, "project"), _together(kind, "audit")),
        )


def _together(kind: str, prefix: str) -> list[Request]:
    """A new run, and a change of a row of AccessTable, in one transaction."""
    run = {"project": {"S": "apollo"}, "id": {"S": "01M6DMBE00"}}
    row = {"scope": {"S": f"{prefix}#apollo"}, "entry": {"S": "x"}}
    members = [
        {"Put": {"TableName": "RunsTable", "Item": run}},
        {kind: {"TableName": "AccessTable", "Key": row}},
    ]
    call = {"TransactItems": members}
    return [*map(request_of, accesses("serve_runs", "dynamodb", "TransactWriteItems", call))]


def _on_rows_of_runs() -> Iterator[tuple[str, Attack]]:
    for action in ("UpdateItem", "DeleteItem"):
        run = replace(RUN, action=f"dynamodb:{action}")
        for prefix in ("deleted", "messages", "idempotency", "registration"):
            yield _pair(f"{action} of {prefix}# in RunsTable", run, keys=(f"{prefix}#*",))
        yield _pair(f"{action} of a run and a tombstone", run, keys=("*", "deleted#*"))
        yield _pair(f"{action} in RunsTable without a key", run, keys=())
    yield _pair("write runs in a batch", RUN, action="dynamodb:BatchWriteItem")


def _on_runners() -> Iterator[tuple[str, Attack]]:
    for prefix in ("lease", "retired"):
        yield _pair(f"delete {prefix}# in RunnersTable as the API", RUNNER, keys=(f"{prefix}#*",))
    put = replace(RUNNER, action="dynamodb:PutItem")
    yield _pair("put a lease as the API", put, keys=("lease#*",))
    yield _pair("put in RunnersTable without a key as the API", put, keys=())
    yield _pair("update in RunnersTable without a key as the API", TOKEN_OF_RUNNERS, keys=())
    for prefix in ("", "retired#", "lease#", "client#"):
        yield _pair(f"update {prefix}* as the API", TOKEN_OF_RUNNERS, keys=(f"{prefix}*",))
    yield _pair("delete in RunnersTable without a key as the API", RUNNER, keys=())
    for prefix in ("", "tokens#", "retired#"):
        yield _pair(f"delete {prefix}* as the refresher", LEASE, keys=(f"{prefix}*",))
        put = replace(LEASE, action="dynamodb:PutItem")
        yield _pair(f"put {prefix}* as the refresher", put, keys=(f"{prefix}*",))
    yield _pair("update a runner as the refresher", REFRESHED, keys=("*",))
    yield _pair("update in RunnersTable without a key as the refresher", REFRESHED, keys=())
    yield _pair("delete in RunnersTable without a key as the refresher", LEASE, keys=())


def _by_the_registrar() -> Iterator[tuple[str, Attack]]:
    yield _pair("delete a run as the registrar", CLAIM, keys=("*",))
    yield _pair("delete a tombstone as the registrar", CLAIM, keys=("deleted#*",))
    yield _pair("delete a claim and a run as the registrar", CLAIM, keys=("registration#*", "*"))
    yield _pair("delete without a key as the registrar", CLAIM, keys=())
    yield _pair("replace a run as the registrar", CLAIM, action="dynamodb:PutItem", keys=("*",))
    for name in OF_A_RUN:
        changed = REGISTRATION.attributes | {name}
        yield _pair(f"change {name} of a run as the registrar", REGISTRATION, attributes=changed)
    for prefix in ("idempotency", "messages", "waiting"):
        keys = (f"{prefix}#*",)
        yield _pair(f"change {prefix}# like a run as the registrar", REGISTRATION, keys=keys)
    yield _pair("change a run without its key as the registrar", REGISTRATION, keys=())
    revocation = replace(REGISTRATION, keys=("revocation#*",), attributes=frozenset({"revoked_at"}))
    yield _pair("change a run like a revocation as the registrar", revocation, keys=("*",))
    yield _pair(
        "change a revocation and a run as the registrar", revocation, keys=("revocation#*", "*")
    )
    yield _pair("change a revocation without its key as the registrar", revocation, keys=())
    yield _pair("update no named attribute as the registrar", REGISTRATION, attributes=frozenset())
    for returned in ("ALL_OLD", "ALL_NEW"):
        conditions = ((RETURN_VALUES, returned),)
        yield _pair(f"{returned} of a run as the registrar", REGISTRATION, conditions=conditions)
    for name in ("name", "labels", "executed_by", "text", "on_behalf_of"):
        read = PENDING_RUN.attributes | {name}
        yield _pair(f"read {name} as the registrar", PENDING_RUN, attributes=read)
    yield _pair("read no named attribute as the registrar", PENDING_RUN, attributes=frozenset())
    conditions = ((SELECT, "ALL_ATTRIBUTES"),)
    yield _pair("read a whole row as the registrar", PENDING_RUN, conditions=conditions)
    for table in ("AccessTable", "RunnersTable"):
        yield _pair(f"read {table} as the registrar", PENDING_RUN, resource=table)


def _on_secrets() -> Iterator[tuple[str, Attack]]:
    yield _pair("read a client secret as the API", CREDENTIAL, resource=CLIENTS)
    for action in ("CreateSecret", "PutSecretValue", "RestoreSecret"):
        written = replace(CREDENTIAL, action=f"secretsmanager:{action}")
        yield _pair(f"{action} of a client as the API", written, resource=CLIENTS)
        yield _pair(f"{action} of a token as the API", written, resource=TOKENS)
    forced = ((FORCED_DELETION, "true"),)
    yield _pair("delete a credential at once", DELETED_CREDENTIAL, conditions=forced)
    yield _pair("delete a token as the API", DELETED_CREDENTIAL, resource=TOKENS)
    yield _pair("read a credential as the refresher", CLIENT, resource=CREDENTIALS)
    for action in ("PutSecretValue", "CreateSecret", "DeleteSecret"):
        written = replace(TOKEN, action=f"secretsmanager:{action}")
        yield _pair(f"{action} of a client as the refresher", written, resource=CLIENTS)
        yield _pair(f"{action} of a credential as the refresher", written, resource=CREDENTIALS)
    for own in (CREDENTIAL, CLIENT, TOKEN):
        request = request_of(own)
        for prefix in ("other/", f"{STACK}-2/", ""):
            other = replace(request, resource=request.resource.replace(f"{STACK}/", prefix))
            yield f"{own.action} of {prefix}{own.resource}", ([request], [other])
        other = replace(request, resource=request.resource.replace("123456789012", OTHER_ACCOUNT))
        yield f"{own.action} of {own.resource} in another account", ([request], [other])


def _by_the_planner_and_the_refresher() -> Iterator[tuple[str, Attack]]:
    for secret in SECRETS:
        allowed, attack = [request_of(DUE)], request_of(replace(CLIENT, resource=secret))
        planner = replace(attack, identity="PlanRefreshRole")
        yield f"read {secret} as the planner", (allowed, [planner])
    yield _pair(
        "read the runs of a creator as the planner", DUE, resource="RunsTable/index/by-creator"
    )
    yield _pair("read runners beside the index as the planner", DUE, resource="RunnersTable")
    for name in sorted({*OF_A_RUN, "finished_by", "reason"} - LOST.attributes):
        changed = LOST.attributes | {name}
        yield _pair(f"change {name} of a run as the planner", LOST, attributes=changed)
    for prefix in OTHER_ROWS:
        yield _pair(f"change {prefix}# like a run as the planner", LOST, keys=(f"{prefix}#*",))
    yield _pair("change a run and a tombstone as the planner", LOST, keys=("*", "deleted#*"))
    yield _pair("change a run without its key as the planner", LOST, keys=())
    yield _pair("update no named attribute as the planner", LOST, attributes=frozenset())
    for returned in ("ALL_OLD", "ALL_NEW"):
        conditions = ((RETURN_VALUES, returned),)
        yield _pair(f"{returned} of a run as the planner", LOST, conditions=conditions)
    for prefix in ("project#", "principal#", ""):
        keys = (f"{prefix}*",)
        yield _pair(f"put {prefix}* as the planner", RECORD_OF_LOST_RUN, keys=keys)
    yield _pair(
        "put a record and a role as the planner", RECORD_OF_LOST_RUN, keys=("audit#*", "project#*")
    )
    yield _pair("put in AccessTable without a key as the planner", RECORD_OF_LOST_RUN, keys=())
    yield _pair("receive messages as the planner", WORK, action="sqs:ReceiveMessage")
    yield _pair("receive messages as the API", FIRST_TOKEN, action="sqs:ReceiveMessage")
    yield _pair("send into another queue as the API", FIRST_TOKEN, resource="RefreshDeadLetters")
    read = Access("refresh_tokens", "dynamodb:GetItem", "RunnersTable", ("*",))
    written = replace(LEASE, action="dynamodb:PutItem")
    for table in ("RunsTable", "AccessTable"):
        yield _pair(f"read {table} as the refresher", read, resource=table)
        yield _pair(f"write {table} as the refresher", written, resource=table)
