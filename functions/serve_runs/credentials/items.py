"""A credential as a row of `AccessTable`: metadata, and which version of its secret counts."""

from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID, uuid5

from byline.tables.items import Item
from serve_runs.access.context import Act
from serve_runs.access.rows import project_key
from serve_runs.credentials.secrets import secret_name

PREFIX = "credential#"
"""What the sort keys of credentials begin with."""

MARKED = "deleting_until"
"""What a row has while its credential is being deleted: until when that may take, in seconds since
the epoch."""

_COLUMNS = {"email": "account_email"}
"""A column of the name `email` is a key of the index `by-email`: whoever stored a credential with
somebody's address would be taken for that person."""

_VERSIONS = UUID("0b6f6f0e-1d0c-4a53-8a2b-6f4f2f4f0d5e")


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential without its secret. `version`: of the secret, and of this row.

    Times are RFC 3339; `created_by` and `updated_by` are `executed_by` as JSON.
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
    updated_by: str | None = None


def credential_key(project: str, name: str) -> Item:
    """The key of a credential's row."""
    return project_key(project) | {"entry": {"S": f"{PREFIX}{name}"}}


def credential_item(credential: Credential) -> Item:
    """The row as DynamoDB keeps it. What is not known is not there."""
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


def still(before: Item | None) -> dict[str, Any]:
    """The condition that a row is what was read: its version is every write's own."""
    if before is None:
        return {"ConditionExpression": "attribute_not_exists(entry)"}
    return {
        "ConditionExpression": "version = :seen",
        "ExpressionAttributeValues": {":seen": before["version"]},
    }


def new_version(project: str, name: str, act: Act, step: str) -> str:
    """The same for the same step of the same request, so that a call that is sent again by itself
    is done once."""
    return str(uuid5(_VERSIONS, f"{secret_name(project, name)}#{act.request_id}#{step}"))
