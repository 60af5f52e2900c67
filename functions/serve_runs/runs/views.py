"""A run as a row of `RunsTable`, and as the API shows it.

A row has the display names that were known when it was written. `named_runs` adds later names.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256
from math import ceil
from typing import TYPE_CHECKING, Any

import msgspec

from byline.heartbeats import shard_of
from byline.identity.caller import Caller, read_executed_by, read_principal, who
from byline.tables.rows import EXPIRES_AT, Item, number_of, rfc3339, text_of
from serve_runs.audit.trail import ActionContext
from serve_runs.profiles.store import Profiles
from serve_runs.runs.requests import CreateRun, EndRun

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import PutTypeDef

_DELETED = "deleted#"
"""The prefix of a tombstone's project."""

_NOT_IN_TOMBSTONES = (
    *("creator", "live", "live_for", "heartbeat_shard", "heartbeat_due"),
    *("registration_error", EXPIRES_AT),
)
_TEXTS = ("id", "project", "name", "status", "created_at", "updated_at")
_IDENTITIES = (
    "executed_by",
    "on_behalf_of",
    "started_by",
    "started_on_behalf_of",
    "finished_by",
    "finished_on_behalf_of",
    "cancelled_by",
    "cancelled_on_behalf_of",
)
_REFERENCES = ("creator_user_id", "creator_service_account_id", "agent", "runner", "parent_run")


def new_item(
    body: CreateRun, *, project: str, run_id: str, action: ActionContext, at: float
) -> Item:
    """The row of a run that is created at the time `at`, seconds since the epoch.

    `creator` and the column of its kind exist only for a known caller, `live` and `live_for` until
    the run ends. Indexes and conditions depend on whether an attribute exists.
    """
    time = rfc3339(at)
    item: Item = {
        "project": {"S": project},
        "id": {"S": run_id},
        "status": {"S": "pending"},
        "live": {"S": live_partition(project, "pending")},
        "created_at": {"S": time},
        "updated_at": {"S": time},
        "last_request": {"S": action.request_id},
    }
    item |= _given(body)
    creator = action.caller
    if creator is not None:
        item["creator"] = {"S": creator.subject}
        item["creator_issuer"] = {"S": creator.issuer}
        item[_creator_column(creator)] = {"S": creator.subject}
        if creator.through:
            item["through"] = {"S": creator.through}
    if action.accountable is not None:
        item["live_for"] = {"S": accountable_partition(action.accountable)}
    if (identity := action.identity) is not None:
        item["executed_by"] = {"S": identity}
    person = action.on_behalf_of
    if person is not None:
        item["on_behalf_of"] = {"S": person.identity}
        item["person"] = {"S": person.principal}
        if person.is_inherited:
            item["person_inherited"] = {"BOOL": True}
    return item


def put_once(table: str, item: Item) -> "PutTypeDef":
    """Put `item` unless it exists, with at most one of the two creators.

    The second condition compares the new values, not stored ones: DynamoDB refuses a row with both
    creators, even after a programming error here.
    """
    absent = {"S": ""}
    return {
        "TableName": table,
        "Item": item,
        "ConditionExpression": (
            "attribute_not_exists(id) AND (:user = :absent OR :service_account = :absent)"
        ),
        "ExpressionAttributeValues": {
            ":absent": absent,
            ":user": item.get("creator_user_id", absent),
            ":service_account": item.get("creator_service_account_id", absent),
        },
    }


def run_key(project: str, run_id: str) -> Item:
    """The key of a run's row."""
    return {"project": {"S": project}, "id": {"S": run_id}}


def tombstone_of(
    run: Item, *, action: ActionContext, at: float, outbox: Item, expires: Item
) -> Item:
    """The row of a deleted run. `outbox`: its outbox entry, empty where registration is off.

    It expires as `expires` says. With an outbox entry, it does so only after the deregistration,
    which writes `kept_until` into `expires_at`.
    """
    tombstone: Item = run | {
        "project": {"S": f"{_DELETED}{run['project']['S']}"},
        "deleted_at": {"S": rfc3339(at)},
        "last_request": {"S": action.request_id},
        **outbox,
    }
    # Without these key attributes the tombstone is in no index, so it is not listed. The error is
    # of the registration; the deregistration has none yet. The expiry is that of the run.
    for name in _NOT_IN_TOMBSTONES:
        tombstone.pop(name, None)
    # Its key attribute of `by-represented` goes too, but the issuer in it stays known.
    if (person := tombstone.pop("person", None)) is not None:
        tombstone["on_behalf_of_issuer"] = {"S": read_principal(person["S"]).issuer}
    tombstone |= actor_attributes("deleted", action)
    if expires and "unregistered" in tombstone:
        expires = {"kept_until": expires[EXPIRES_AT]}
    return tombstone | expires


def actor_attributes(change: str, action: ActionContext) -> Item:
    """Who carried out a change, and on whose behalf, for the attributes `{change}_…`.

    Each identity has its issuer in an attribute `…_issuer`. Empty for an anonymous caller.
    """
    attributes: Item = {}
    if action.identity is not None and action.caller is not None:
        attributes[f"{change}_by"] = {"S": action.identity}
        attributes[f"{change}_by_issuer"] = {"S": action.caller.issuer}
    person = action.on_behalf_of
    if person is not None:
        attributes[f"{change}_on_behalf_of"] = {"S": person.identity}
        issuer = read_principal(person.principal).issuer
        attributes[f"{change}_on_behalf_of_issuer"] = {"S": issuer}
    return attributes


def end_attributes(end: EndRun | None) -> Item:
    """How a run ended, for its row and for the audit record of its end."""
    attributes: Item = {}
    if end is not None and end.reason is not None:
        attributes["reason"] = {"S": end.reason}
    if end is not None and end.exit_code is not None:
        attributes["exit_code"] = {"N": str(int(end.exit_code))}
    return attributes


def heartbeat_attributes(run: Item, *, at: float) -> Item:
    """What a run that is running from `at` on has for its heartbeats; empty if it sends none."""
    allowed = number_of(run, "heartbeat_seconds")
    if allowed is None:
        return {}
    return {
        "heartbeat_at": {"S": rfc3339(at)},
        "heartbeat_due": {"N": str(ceil(at) + allowed)},
        "heartbeat_shard": {"S": shard_of(run["id"]["S"])},
    }


def kept_project(project: str) -> Item:
    """The row that shows that a project has had runs, when all of them have expired."""
    return {"project": {"S": f"{_DELETED}{project}"}, "id": {"S": "-"}}


def live_partition(project: str, status: str) -> str:
    """The partition of the index `by-live` with a project's runs in this state, one of `LIVE`."""
    return f"{project}#{status}"


def accountable_partition(principal: str) -> str:
    """The partition of the index `by-accountable` with the live runs of a principal, given as text.

    128 bits of a hash: the text itself may be hundreds of bytes, for which each write would pay.
    """
    return urlsafe_b64encode(sha256(principal.encode()).digest()[:16]).decode().rstrip("=")


def run_json(item: Item) -> dict[str, Any]:
    """The run as the API shows it, with every field; null where a fact is unknown.

    A stored identity that cannot be read is null, never an error.
    """
    run: dict[str, Any] = {field: text_of(item, field) for field in _TEXTS}
    for field in _IDENTITIES:
        stored = text_of(item, field)
        run[field] = None if stored is None else read_executed_by(stored)
    run["who"] = {
        field: who(text_of(item, field), issuer=_issuer(item, field)) for field in _IDENTITIES
    }
    for field in _REFERENCES:
        run[field] = text_of(item, field)
    run["heartbeat_seconds"] = number_of(item, "heartbeat_seconds")
    run["heartbeat_at"] = text_of(item, "heartbeat_at")
    run["lost_at"] = text_of(item, "lost_at")
    run["reason"] = text_of(item, "reason")
    run["exit_code"] = number_of(item, "exit_code")
    labels = item.get("labels", {}).get("M", {})
    run["labels"] = {name: value.get("S", "") for name, value in labels.items()}
    return run


def named_runs(rows: list[Item], *, profiles: Profiles) -> list[dict[str, Any]]:
    """The runs as the API shows them, with names from `profiles` where a row has only a subject."""
    shown = [run_json(row) for row in rows]
    profiles.complete(shown)
    return shown


def _given(body: CreateRun) -> Item:
    """The attributes of the members that a body has."""
    given: Item = {}
    for name in ("name", "agent", "runner", "parent_run"):
        value = getattr(body, name)
        if value is not None:
            given[name] = {"S": value}
    if body.heartbeat_seconds is not msgspec.UNSET:
        given["heartbeat_seconds"] = {"N": str(int(body.heartbeat_seconds))}
    if body.labels:
        given["labels"] = {"M": {label: {"S": value} for label, value in body.labels.items()}}
    return given


def _creator_column(creator: Caller) -> str:
    """The creator column for the kind of caller. The other creator column does not exist."""
    return "creator_user_id" if creator.kind == "user" else "creator_service_account_id"


def _issuer(row: Item, field: str) -> str | None:
    """The issuer of a field's subject, None where the row does not have it."""
    if field == "on_behalf_of" and "person" in row:
        return read_principal(row["person"]["S"]).issuer
    return text_of(row, "creator_issuer" if field == "executed_by" else f"{field}_issuer")
