"""A credential as a row of `AccessTable`, and as the API shows it: metadata, never its token."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from uuid import UUID, uuid5

import msgspec

from byline.identity.caller import read_executed_by, who
from byline.tables.rows import Item, rfc3339
from serve_runs.access.projects import project_key
from serve_runs.audit.trail import ActionContext
from serve_runs.credentials.requests import PutCredential
from serve_runs.errors import RequestFailed

PREFIX = "credential#"
"""The prefix of the sort keys of credentials."""

DELETING_UNTIL = "deleting_until"
"""The column of a deletion marker: the time until which it blocks other changes, in seconds since
the epoch."""

_COLUMNS = {"email": "account_email"}
"""The columns that are not named like their fields. A column `email` is a key of the index
`by-email`, so the credential would count as the profile of a person with that address."""

_VERSIONS = UUID("0b6f6f0e-1d0c-4a53-8a2b-6f4f2f4f0d5e")


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential without its secret. `version`: the committed version of the secret.

    Times are RFC 3339; `created_by` and `updated_by` are `executed_by` as JSON, each with an
    issuer, which rows of earlier versions lack. `readers` is as `readers.stored`, None for a
    credential that is not bound.
    """

    project: str
    name: str
    version: str
    provider: str
    created_at: str
    updated_at: str
    url: str | None = None
    email: str | None = None
    created_by: str | None = None
    created_by_issuer: str | None = None
    updated_by: str | None = None
    updated_by_issuer: str | None = None
    readers: str | None = None


def credential_key(project: str, name: str) -> Item:
    """The key of a credential's row."""
    return project_key(project) | {"entry": {"S": f"{PREFIX}{name}"}}


def credential_item(credential: Credential) -> Item:
    """The row as DynamoDB keeps it. A column exists only where its value is known."""
    texts = {name: text for name, text in asdict(credential).items() if text is not None}
    return credential_key(credential.project, credential.name) | {
        _COLUMNS.get(name, name): {"S": text} for name, text in texts.items()
    }


def read_credential(item: Item) -> Credential:
    """The credential of a row."""
    texts: dict[str, Any] = {name: value["S"] for name, value in item.items() if "S" in value}
    columns = {each.name: _COLUMNS.get(each.name, each.name) for each in fields(Credential)}
    known = {name: texts[column] for name, column in columns.items() if column in texts}
    return Credential(**known)


def changed(
    before: Credential | None,
    body: PutCredential,
    *,
    key: tuple[str, str, str],
    readers: str | None,
    action: ActionContext,
    at: float,
) -> Credential:
    """The credential after a put. `key`: its project, name and version. `at`: the time, in seconds
    since the epoch.

    `readers`: the new readers; None keeps them, so that a new token does not widen its readers.
    """
    time = rfc3339(at)
    kept = None if before is None else before.readers
    return Credential(
        *key,
        body.provider,
        url=body.url,
        email=body.email,
        created_at=time if before is None else before.created_at,
        created_by=action.identity if before is None else before.created_by,
        created_by_issuer=action.issuer if before is None else before.created_by_issuer,
        updated_at=time,
        updated_by=action.identity,
        updated_by_issuer=action.issuer,
        readers=kept if readers is None else readers,
    )


def bound(before: Credential, readers: str, *, action: ActionContext, at: float) -> Credential:
    """The credential after it was bound to `readers`. `at`: in seconds since the epoch."""
    return replace(
        before,
        readers=readers,
        updated_at=rfc3339(at),
        updated_by=action.identity,
        updated_by_issuer=action.issuer,
    )


def unchanged(before: Item | None) -> dict[str, Any]:
    """The condition that a row is as it was read: every write changes its version or readers."""
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(entry)"}
    if "readers" not in before:
        return {
            "ConditionExpression": "version = :seen AND attribute_not_exists(readers)",
            "ExpressionAttributeValues": {":seen": before["version"]},
        }
    return {
        "ConditionExpression": "version = :seen AND readers = :readers",
        "ExpressionAttributeValues": {
            ":seen": before["version"],
            ":readers": before["readers"],
        },
    }


def refuse_during_deletion(item: Item | None, *, now: float) -> None:
    """Raise `RequestFailed` (`store_unavailable`) for a deletion marker that is young at `now`."""
    if item is not None and DELETING_UNTIL in item and int(item[DELETING_UNTIL]["N"]) > now:
        raise RequestFailed(
            "store_unavailable", "Another request deletes or restores the credential. Retry."
        )


def new_version(project: str, name: str, action: ActionContext, step: str) -> str:
    """A version derived from the request and the step, so that a call that botocore repeats is
    carried out once."""
    return str(uuid5(_VERSIONS, f"{project}/{name}#{action.request_id}#{step}"))


def credential_json(credential: Credential) -> dict[str, Any]:
    """The credential as the API shows it, with every field; null where a fact is unknown."""
    return {
        "name": credential.name,
        "project": credential.project,
        "provider": credential.provider,
        "url": credential.url,
        "email": credential.email,
        "readers": None if credential.readers is None else msgspec.json.decode(credential.readers),
        "created_at": credential.created_at,
        "created_by": credential.created_by and read_executed_by(credential.created_by),
        "updated_at": credential.updated_at,
        "updated_by": credential.updated_by and read_executed_by(credential.updated_by),
        "who": {
            "created_by": who(credential.created_by, issuer=credential.created_by_issuer),
            "updated_by": who(credential.updated_by, issuer=credential.updated_by_issuer),
        },
    }
