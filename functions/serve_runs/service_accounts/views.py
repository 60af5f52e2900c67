"""A service account as rows of `AccessTable`, and as the API shows it."""

from dataclasses import dataclass
from typing import Any

from byline.identity.caller import Principal, read_executed_by, read_principal, who
from byline.tables.rows import Item, attributes
from serve_runs.access.entries import expires_at, expiring
from serve_runs.access.projects import project_key

ENTRY = "service-account#"
"""The prefix of the sort keys of a project's service accounts."""


@dataclass(frozen=True, slots=True)
class ServiceAccountRegistration:
    """The request that `application` acts for `person`, with `role` in `project`.

    `identity`: the person as JSON of a `StoredIdentity`. `request_id`: Lambda's. `end`: when it
    ends by itself, seconds since the epoch; None for never.
    """

    project: str
    application: Principal
    person: Principal
    identity: str
    role: str
    name: str
    request_id: str
    end: int | None = None

    def item(self, account_id: str, *, created_at: str, updated_at: str) -> Item:
        """The columns of both rows. Times are RFC 3339.

        `holder`, the key of the index by which the person finds it, is in the row by project only.
        """
        texts: dict[str, str] = {
            "id": account_id,
            "principal": self.application.text,
            "person": self.person.text,
            "identity": self.identity,
            "project": self.project,
            "role": self.role,
            "name": self.name,
            "created_at": created_at,
            "updated_at": updated_at,
            "last_request": self.request_id,
        }
        return attributes(texts) | expiring(self.end)


def listed_key(project: str, account_id: str) -> Item:
    """The key of the row by project."""
    return project_key(project) | {"entry": {"S": f"{ENTRY}{account_id}"}}


def service_account_json(row: Item) -> dict[str, Any]:
    """A service account as the API shows it."""
    application = read_principal(row["principal"]["S"])
    return {
        "id": row["id"]["S"],
        "project": row["project"]["S"],
        "name": row["name"]["S"],
        "issuer": application.issuer,
        "subject": application.subject,
        "role": row["role"]["S"],
        "acts_for": read_executed_by(row["identity"]["S"]),
        "who": {
            "acts_for": who(row["identity"]["S"], issuer=read_principal(row["person"]["S"]).issuer)
        },
        "expires_at": expires_at(row),
        "created_at": row["created_at"]["S"],
        "updated_at": row["updated_at"]["S"],
    }


def registration_json(row: Item) -> dict[str, Any]:
    """A registration as its own service account sees it."""
    shown = service_account_json(row)
    names = ("project", "id", "role", "expires_at", "acts_for", "who")
    return {name: shown[name] for name in names}
